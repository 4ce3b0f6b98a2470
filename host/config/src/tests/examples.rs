//! The examples for operators, masque.example.toml and .env.example, have exactly what is read, with its defaults, and are
//! valid.

use std::collections::BTreeSet;

use super::reference::{Keys, keys_that_are_read};
use super::{Folder, lines_of};
use crate::Flags;

const SETTINGS: &str = include_str!("../../../../masque.example.toml");
const VARIABLES: &str = include_str!("../../../../.env.example");
const REFERENCE: &str = include_str!("../../../../docs/configuration.md");
const TRACING: &str = include_str!("../../../../docs/tracing.md");

const SECRET: &str = "k8Hq2vTz9RxL4mWpQ7nB3cY6dF1gJ5sA0uE8iO2tZrM=";

/// The folder of the files that the examples name.
const FILES: &str = "/etc/masque/";

/// What stands for the data folder, where a default is relative to it.
const DATA: &str = "masque-data/";

/// A line `key = value` of masque.example.toml.
struct Setting {
    line: usize,
    /// The line of the section's header.
    header: usize,
    /// The section, with `NAME` for a name that an operator chooses.
    section: String,
    key: &'static str,
    value: &'static str,
    /// The word behind the value: `required` or `no default`.
    mark: Option<&'static str>,
    is_comment: bool,
}

impl Setting {
    fn default(&self) -> Option<String> {
        let text = self.value.trim_matches('"');
        let is_default = self.is_comment && self.mark.is_none();
        is_default.then(|| text.strip_prefix(DATA).unwrap_or(text).to_owned())
    }

    /// Whether its section is one of several, which an operator names.
    fn is_named(&self) -> bool {
        self.section.contains("NAME")
    }
}

fn settings() -> Vec<Setting> {
    let mut found = Vec::new();
    let (mut header, mut section) = (0, String::new());
    for (line, text) in SETTINGS.lines().enumerate() {
        let content = text.strip_prefix('#').unwrap_or(text);
        if let Some(path) = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let mut parts: Vec<_> = path.split('.').collect();
            let name = match parts[0] {
                "companions" | "plugins" | "credentials" => Some(1),
                "auth" if parts.len() > 1 => Some(2),
                _ => None,
            };
            if let Some(name) = name {
                parts[name] = "NAME";
            }
            (header, section) = (line, parts.join("."));
        } else if let Some((key, value)) = content.split_once(" = ")
            && key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
        {
            let (value, mark) = match value.split_once("  # ") {
                Some((value, mark)) => (value, Some(mark)),
                None => (value, None),
            };
            let is_comment = text.starts_with('#');
            found.push(Setting { line, header, section: section.clone(), key, value, mark, is_comment });
        }
    }
    found
}

/// The file with these lines in effect.
fn with_lines(lines: &BTreeSet<usize>) -> String {
    let text = SETTINGS.lines().enumerate().map(|(line, text)| match lines.contains(&line) {
        true => text.strip_prefix('#').unwrap_or(text),
        false => text,
    });
    text.flat_map(|line| [line, "\n"]).collect::<String>().replace(FILES, "")
}

/// A folder with this configuration and the files that the examples name.
fn folder(toml: &str) -> Folder {
    let folder = Folder::new().with("masque.toml", toml).with("jwt-secret", SECRET);
    let names = ["tls.crt", "tls.key", "database-password", "redis-password", "openai-key"];
    let folder = names.into_iter().fold(folder, |folder, name| folder.with(name, "content"));
    folder.with("jwks.json", "{\"keys\": []}")
}

#[test]
fn the_example_of_the_file_has_every_key_and_its_default() {
    let read = keys_that_are_read();
    let sections: BTreeSet<_> = read.keys().map(|(section, _)| section.clone()).collect();
    // A key that holds a section of its own is there as the header of that section.
    let is_section = |section: &str, key: &str| {
        let path = format!("{section}.{key}");
        sections.contains(&path) || sections.contains(&format!("{path}.NAME"))
    };
    let read: Keys = read.into_iter().filter(|((section, key), _)| !is_section(section, key)).collect();
    let listed = settings();
    let named = listed.iter().map(|found| ((found.section.clone(), found.key.to_owned()), found.default()));
    assert_eq!(named.collect::<Keys>(), read);
    assert_eq!(listed.len(), read.len(), "a key is there twice");
}

#[test]
fn each_key_and_variable_of_the_examples_is_explained() {
    let is_explained =
        |text: &str, line: usize| text.lines().nth(line - 1).is_some_and(|before| before.starts_with("# "));
    for Setting { line, section, key, .. } in settings() {
        assert!(is_explained(SETTINGS, line), "{key} of [{section}]");
    }
    for (line, name, _) in variables() {
        assert!(is_explained(VARIABLES, line), "{name}");
    }
}

#[test]
fn the_example_of_the_file_is_valid_as_it_is() {
    let loaded = folder(SETTINGS).load(&Flags::default(), &[]);
    assert_eq!(lines_of(loaded), [""; 0]);
}

#[test]
fn a_default_that_is_written_into_the_file_changes_nothing() {
    let variables = [
        ("JWT_SECRET_KEY", SECRET),
        ("DATABASE_URL", "postgres://masque@localhost/masque"),
        ("REDIS_URL", "redis://localhost"),
    ];
    let defaults = settings().into_iter().filter(|found| {
        let is_default = found.default().is_some() && !found.value.contains(DATA);
        is_default && (!found.is_named() || found.section.starts_with("companions"))
    });
    let defaults: BTreeSet<_> = defaults.map(|found| found.line).collect();
    assert!(defaults.len() > 50, "{}", defaults.len());
    let folder = folder(SETTINGS);
    let without = folder.load(&Flags::default(), &variables).unwrap().config.digest();
    let folder = folder.with("masque.toml", with_lines(&defaults));
    let with = folder.load(&Flags::default(), &variables).unwrap().config.digest();
    assert_eq!(with, without);
}

#[test]
fn each_line_of_the_example_can_be_put_into_effect() {
    let all = settings();
    // What a section needs in order to be one: its header, and what is required in it.
    let needed = all.iter().filter(|found| {
        found.mark == Some("required") || matches!(found.key, "source" | "settings" | "http" | "value")
    });
    let headers = all.iter().map(|found| found.header);
    let needed: BTreeSet<_> = needed.map(|found| found.line).chain(headers).collect();
    let line_of = |key: &str| all.iter().find(|found| found.key == key).unwrap().line;
    for Setting { line, section, key, .. } in &all {
        let mut lines = needed.clone();
        lines.insert(*line);
        match *key {
            "value_file" => _ = lines.remove(&line_of("value")),
            "certificate" | "key" => lines.extend([line_of("certificate"), line_of("key")]),
            _ => {}
        }
        let secret = if *key == "secret_file" { "" } else { SECRET };
        let variables = [("JWT_SECRET_KEY", secret), ("OPENAI_API_KEY", "sk-example")];
        let loaded = folder(&with_lines(&lines)).load(&Flags::default(), &variables);
        assert_eq!(lines_of(loaded), [""; 0], "{key} of [{section}]");
    }
}

/// The lines `#NAME=value` of .env.example.
fn variables() -> Vec<(usize, &'static str, &'static str)> {
    let parse = |(line, text): (usize, &'static str)| {
        let (name, value) = text.strip_prefix('#')?.split_once('=')?;
        is_name(name).then_some((line, name, value))
    };
    VARIABLES.lines().enumerate().filter_map(parse).collect()
}

fn is_name(text: &str) -> bool {
    text.len() > 5 && text.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')
}

/// The example's variables as a host gets them, without those that name files.
fn values() -> Vec<(&'static str, &'static str)> {
    let values = variables().into_iter().map(|(_, name, value)| match name {
        "JWT_SECRET_KEY" => (name, SECRET),
        // A sampler for which the share is read.
        "OTEL_TRACES_SAMPLER" => (name, "parentbased_traceidratio"),
        _ => (name, value),
    });
    values.filter(|(_, value)| !value.starts_with(FILES)).collect()
}

#[test]
fn the_example_of_the_variables_has_every_variable_that_is_read() {
    let folder = folder(SETTINGS);
    // A variable for traces alone keeps the one for all signals from being read.
    let for_all_signals = values().into_iter().filter(|(name, _)| !name.contains("_TRACES_")).collect();
    let mut asked = BTreeSet::new();
    for variables in [Vec::new(), values(), for_all_signals] {
        let source = folder.source(&Flags::default(), &variables);
        assert!(source.load().is_ok());
        asked.extend(source.environment.asked());
    }
    let listed: Vec<_> = variables().into_iter().map(|(_, name, _)| name.to_owned()).collect();
    assert_eq!(listed.len(), listed.iter().collect::<BTreeSet<_>>().len(), "a variable is there twice");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), asked);
}

#[test]
fn the_documents_have_the_variables_of_the_example() {
    // The names in the first cells of the tables below a heading.
    let in_tables = |document: &str, heading: &str, cells: usize| {
        let section = document.split(&format!("\n## {heading}\n")).nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with('|'));
        let cells = rows.flat_map(|row| row.split('|').skip(1).take(cells).collect::<Vec<_>>());
        let spans = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).collect::<Vec<_>>());
        spans.filter(|span| is_name(span)).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (traces, others): (BTreeSet<_>, BTreeSet<_>) = variables()
        .into_iter()
        .map(|(_, name, _)| name.to_owned())
        .partition(|name| name.starts_with("OTEL_"));
    assert_eq!(in_tables(REFERENCE, "Flags and environment variables", 2), others);
    assert_eq!(in_tables(TRACING, "Variables", 1), traces);
}
