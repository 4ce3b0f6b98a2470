//! The reference, docs/configuration.md, lists exactly the keys that are read, with their defaults.

use std::collections::BTreeMap;

use super::{CARD, variables_of};
use crate::document::Document;
use crate::read::read;
use crate::report::Report;
use crate::{ConfigSource, Flags};

const REFERENCE: &str = include_str!("../../../../docs/configuration.md");

const DEPLOYMENT: &str = include_str!("../../../../docs/deployment.md");

/// A file with one section of each kind, so that each is read.
const FILE: &str = "[companions.one]\n[plugins.one]\n[credentials.one]\n[auth.issuers.one]\n";

/// The default of each key by section and key.
pub(super) type Keys = BTreeMap<(String, String), Option<String>>;

pub(super) fn keys_that_are_read() -> Keys {
    let document = Document::from_text("masque.toml", FILE);
    let (root, syntax) = document.parse();
    let report = Report::new(Some(&document), syntax);
    let source = ConfigSource {
        flags: Flags::default(),
        environment: variables_of(&[]),
        folder: "/nonexistent".into(),
        default_card: CARD.into(),
    };
    read(&source, None, Some(&document), &root, &report);
    let mut keys = Keys::new();
    for known in report.into_known_keys() {
        // The keys of the root are the sections, which the reference lists as headings.
        if known.section.is_empty() {
            continue;
        }
        let default = keys.entry((known.section, known.key.to_owned())).or_default();
        *default = known.default.or(default.take());
    }
    keys
}

/// The rows of the form `| key | default | … |` below a heading with the section's name.
fn keys_that_are_listed() -> Keys {
    let mut section = None;
    let mut keys = Keys::new();
    for line in REFERENCE.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            section = heading.strip_prefix("`[").and_then(|rest| rest.split(']').next());
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let (Some(section), [_, key, default, ..]) = (section, &*cells) else { continue };
        let Some(key) = key.strip_prefix('`').and_then(|key| key.strip_suffix('`')) else { continue };
        let default = default.strip_prefix('`').and_then(|default| default.strip_suffix('`'));
        keys.insert((section.to_owned(), key.to_owned()), default.map(str::to_owned));
    }
    keys
}

#[test]
fn the_reference_lists_every_key_and_its_default() {
    assert_eq!(keys_that_are_listed(), keys_that_are_read());
}

#[test]
fn the_reference_lists_every_variable() {
    for name in [
        "MASQUE_CONFIG",
        "MASQUE_LISTEN",
        "MASQUE_DATA",
        "ENVIRONMENT",
        "REQUIRE_AUTHENTICATION",
        "JWT_SECRET_KEY",
        "CORS_ORIGINS",
        "DATABASE_URL",
        "DATABASE_DIRECT_URL",
        "REDIS_URL",
        "REDIS_ENABLED",
    ] {
        assert!(REFERENCE.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn the_examples_of_the_reference_are_valid() {
    let examples: Vec<_> =
        REFERENCE.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() >= 2);
    for example in examples {
        let folder = super::Folder::new().with("masque.toml", example).with("cards/elara.json", "{}");
        let loaded = folder.load(&Flags::default(), &[("OPENAI_API_KEY", "x")]);
        assert_eq!(super::lines_of(loaded), [""; 0], "{example}");
    }
}

#[test]
fn the_configuration_of_the_deployment_guide_is_safe() {
    let file = DEPLOYMENT.split("sudo tee /etc/masque/masque.toml >/dev/null <<'EOF'\n").nth(1).unwrap();
    let toml = file.split("EOF\n").next().unwrap();
    let toml = toml.replace("/etc/masque/secrets/", "").replace("/etc/masque/", "");
    let toml = toml.replace("/var/lib/masque", "data");
    let secret = "k8Hq2vTz9RxL4mWpQ7nB3cY6dF1gJ5sA0uE8iO2tZrM=";
    let folder = super::Folder::new().with("masque.toml", toml).with("jwt", secret);
    let folder = folder.with("tls.crt", "certificate").with("tls.key", "key");
    let folder = folder.with("database", secret).with("redis", secret);
    let loaded = folder.load(&Flags::default(), &[("ENVIRONMENT", "production")]);
    assert_eq!(super::lines_of(loaded), [""; 0]);
}
