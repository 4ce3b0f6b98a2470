//! The document by which hosts share companions and plugins: what another host makes of it, and what it never holds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Folder, lines_of};
use crate::{Config, Flags, InvalidDocument, PluginSource, SetDocument, content_digest};

const SET: &str = r#"
[companions.ida]
persona = "ida"
models = ["openai", "offline"]
fallback = true
memory_budget = 99
options = { temperature = 0.5 }

[plugins.ida]
source = "ida.wasm"
settings = { card = { file = "ida.json" }, picture = { file = "ida.png" } }
grants = { state = true, networks = ["10.0.0.0/8"], scratch = "1MiB", reuse = "user" }

[plugins.openai]
source = "builtin:openai"
grants = { http = ["POST https://api.test/v1/"], credentials = ["one", "two"] }
limits = { wall = "1m", memory = "32MiB" }
"#;

const CREDENTIALS: &str = r#"
[credentials.one]
origin = "https://api.test"
header = "authorization"
value = "Bearer ${KEY} sk-literal"

[credentials.two]
origin = "https://api.test"
header = "x-key"
value_file = "key"
"#;

const VARIABLES: &[(&str, &str)] = &[
    ("KEY", "sk-variable"),
    ("JWT_SECRET_KEY", "sk-jwt-k8Hq2vTz9RxL4mWpQ7nB3cY6dF1gJ5sA0uE8iO2tZrM="),
    ("DATABASE_URL", "postgres://masque:sk-database@127.0.0.1/masque"),
];

fn publisher() -> Config {
    let folder = Folder::new()
        .with("masque.toml", format!("[active_set]\nrevision = 7\n{SET}{CREDENTIALS}"))
        .with("key", "sk-file\n")
        .with("ida.json", "{\"name\": \"Ida\"}")
        .with("ida.png", b"\x89PNG\r\n\x1a\n")
        .with("ida.wasm", "component");
    folder.load(&Flags::default(), VARIABLES).unwrap().config
}

fn document() -> SetDocument {
    let digests = BTreeMap::from([("ida".parse().unwrap(), content_digest(b"component"))]);
    SetDocument::of(&publisher(), &digests).unwrap()
}

/// A host with this file, and with nothing beside it but the file of a secret.
fn other(file: &str) -> Config {
    let folder = Folder::new().with("masque.toml", file).with("key", "sk-other");
    folder.load(&Flags::default(), &[("KEY", "sk-other")]).unwrap().config
}

fn component(digest: &str) -> PathBuf {
    PathBuf::from("kept").join(digest)
}

#[test]
fn another_host_makes_the_same_set_of_the_document_with_its_own_credentials() {
    let document = SetDocument::parse(&document().text()).unwrap();
    let (publisher, other) = (publisher(), other(CREDENTIALS));
    let made = other.with_document(&document, 7, component).unwrap();
    assert_eq!(made.companions, publisher.companions);
    assert_eq!(made.active_set.revision, Some(7));
    assert!(made.plugins.keys().eq(publisher.plugins.keys()));
    for (name, wanted) in &publisher.plugins {
        let (wanted, found) = (wanted.fingerprint(), made.plugins[name].fingerprint());
        assert_eq!(found.settings, wanted.settings, "{name}");
        assert_eq!(found.limits, wanted.limits, "{name}");
        let has_secrets = name.as_str() == "openai";
        assert_eq!(found.grants == wanted.grants, !has_secrets, "{name}");
    }
    let digest = content_digest(b"component");
    let expected = PluginSource::Stored { digest: digest.clone(), file: component(&digest) };
    assert_eq!(made.plugins["ida"].source, expected);
    assert_eq!(document.components(), [digest]);
    let openai = &made.plugins["openai"].grants;
    assert_eq!(openai.credentials[1].value().to_str().unwrap(), "sk-other");
    assert_eq!(openai.http[0].to_string(), "POST https://api.test/v1/");
    // The document of what was made of a document is the same.
    assert_eq!(SetDocument::of(&made, &BTreeMap::new()), Some(document));
}

#[test]
fn a_document_holds_no_secret() {
    let text = document().text();
    assert!(text.contains("\"one\"") && text.contains("data:image/png;base64,") && text.contains("Ida"));
    assert!(!text.contains("sk-"), "{text}");
}

#[test]
fn a_host_without_a_credential_says_which_one_it_lacks() {
    let wrong = CREDENTIALS.replacen("https://api.test", "https://elsewhere.test", 1);
    let no_two = CREDENTIALS.split("[credentials.two]").next().unwrap();
    for (file, expected) in [
        (
            no_two,
            "active set, plugin `openai`: this host has no credential `two`. Add [credentials.two] to the configuration of this host.",
        ),
        (
            &wrong,
            "active set, plugin `openai`: this host's credential `one` is for https://elsewhere.test, which the plugin may not reach. \
             Give [credentials] the same origins on all hosts.",
        ),
    ] {
        let problems = other(file).with_document(&document(), 7, component).unwrap_err();
        assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn a_document_that_is_damaged_or_of_a_later_release_is_refused() {
    let text = document().text();
    let later = text.replacen("{\"version\":1", "{\"new\":0,\"version\":2", 1);
    assert_eq!(SetDocument::parse(&later), Err(InvalidDocument::Version(2)));
    for damaged in ["", "{}", &text[1..], &text.replacen("\"fallback\"", "\"fallbakc\"", 1)] {
        assert!(matches!(SetDocument::parse(damaged), Err(InvalidDocument::Content(_))), "{damaged}");
    }
    for (from, to, words) in [
        ("\"persona\":\"ida\"", "\"persona\":\"none\"", "there is no plugin `none`"),
        ("\"builtin\":\"openai\"", "\"builtin\":\"later\"", "this host has no built-in plugin `later`"),
        ("POST https://api.test/v1/", "nowhere", "a grant can't be read: `nowhere`"),
        ("10.0.0.0/8", "ten", "a network can't be read: `ten`"),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        let document = SetDocument::parse(&text.replacen(from, to, 1)).unwrap();
        let problems = other(CREDENTIALS).with_document(&document, 7, component).unwrap_err();
        assert!(problems.iter().any(|problem| problem.what.contains(words)), "{problems:?}");
    }
}

#[test]
fn a_component_without_a_digest_makes_no_document() {
    assert_eq!(SetDocument::of(&publisher(), &BTreeMap::new()), None);
}

#[test]
fn a_file_describes_a_set_by_its_companions_plugins_or_folder() {
    let describes =
        |folder: Folder| folder.load(&Flags::default(), &[]).unwrap().config.locations.describe_active_set();
    assert!(!describes(Folder::new()));
    assert!(!describes(Folder::new().with("masque.toml", "[active_set]\nwatch = true\n")));
    assert!(describes(Folder::new().with("masque.toml", "[plugins.ida]\nsource = \"builtin:card\"\n")));
    assert!(describes(Folder::new().with("masque-data/plugins/ida.wasm", "")));
}

#[test]
fn a_revision_is_a_positive_number() {
    for wrong in ["0", "-1", "\"7\"", "1.5"] {
        let folder = Folder::new().with("masque.toml", format!("[active_set]\nrevision = {wrong}\n"));
        let lines = lines_of(folder.load(&Flags::default(), &[]));
        assert!(lines[0].contains("`revision` in [active_set] must be"), "{lines:?}");
    }
}
