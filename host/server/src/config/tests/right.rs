//! What a right configuration becomes.

use std::time::Duration;

use super::{Folder, lines_of};
use crate::builtin::Builtin;
use crate::config::problem::Position;
use crate::config::{Config, Flags, Place, Source};

/// The example that the reference begins with.
const EXAMPLE: &str = r#"
[companions.elara]
persona = "elara"
memory  = "window"
models  = ["openai", "offline"]
fallback = true
options = { temperature = 0.8 }

[plugins.elara]
source   = "builtin:card"
settings = { card = { file = "cards/elara.json" }, names = { file = "a", other = "b" } }

[plugins.openai]
source   = "builtin:openai"
settings = { base_url = "https://api.openai.com/v1", model = "gpt-5-mini" }
grants   = { http = ["https://api.openai.com"], credentials = ["openai"] }
limits   = { wall = "1m", memory = "32MiB" }

[credentials.openai]
origin = "https://api.openai.com"
header = "authorization"
value  = "Bearer ${OPENAI_API_KEY}$$"
"#;

const KEY: &[(&str, &str)] = &[("OPENAI_API_KEY", "sk-hunter2")];

fn example() -> Config {
    let folder = Folder::new().with("masque.toml", EXAMPLE).with("cards/elara.json", "{}");
    folder.load(&Flags::default(), KEY).unwrap().config
}

#[test]
fn with_nothing_set_there_is_a_companion_that_needs_no_network() {
    let config = Folder::new().load(&Flags::default(), &[]).unwrap().config;
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8000");
    assert!(config.data.folder.ends_with("masque-data"));
    let elara = config.companions.get("elara").unwrap();
    assert_eq!((&*elara.persona, &*elara.memory, &*elara.models[0]), ("elara", "window", "offline"));
    for plugin in config.plugins.values() {
        let grants = config.grants(plugin);
        assert!(grants.http.is_empty() && grants.networks.is_empty() && grants.credentials.is_empty());
    }
    assert!(config.plugins.get("window").unwrap().grants.history);
    assert!(config.plugins.get("elara").unwrap().settings_json().contains("Elara"));
}

#[test]
fn a_file_says_what_the_companion_is_made_of() {
    let config = example();
    let elara = config.companions.get("elara").unwrap();
    assert_eq!(elara.models.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["openai", "offline"]);
    assert!(elara.fallback);
    assert_eq!(elara.options.get("temperature").unwrap(), 0.8);

    let openai = config.plugins.get("openai").unwrap();
    assert_eq!(openai.source, Source::Builtin(Builtin::Openai));
    assert_eq!(openai.limits.wall, Duration::from_secs(60));
    assert_eq!(openai.limits.memory_bytes, 32 << 20);
    let grants = config.grants(openai);
    assert_eq!(grants.http[0].to_string(), "https://api.openai.com");
    assert_eq!(grants.credentials[0].secret().reveal(), "sk-hunter2$");
}

#[test]
fn a_setting_that_names_a_file_becomes_its_text_and_one_that_has_more_keys_does_not() {
    let config = example();
    assert_eq!(
        config.plugins.get("elara").unwrap().settings_json(),
        r#"{"card":"{}","names":{"file":"a","other":"b"}}"#
    );
}

#[test]
fn files_are_found_beside_the_configuration_and_not_beside_the_process() {
    let folder = Folder::new()
        .with("etc/masque.toml", "[data]\nfolder = \"state\"\n[plugins.mine]\nsource = \"mine.wasm\"\n")
        .with("etc/mine.wasm", "");
    let flags = Flags { config: Some("etc/masque.toml".into()), ..Flags::default() };
    let config = folder.load(&flags, &[]).unwrap().config;
    assert_eq!(config.data.folder, folder.path().join("etc/state"));
    assert_eq!(config.plugins.get("mine").unwrap().source, Source::File(folder.path().join("etc/mine.wasm")));
}

#[test]
fn flags_rule_over_variables_and_those_over_the_file() {
    let folder = Folder::new()
        .with("masque.toml", "[server]\nlisten = \"127.0.0.1:1\"\n[data]\nfolder = \"in-file\"\n")
        .with("other.toml", "[server]\nlisten = \"127.0.0.1:4\"\n");
    let variables = [("MASQUE_LISTEN", "127.0.0.1:2"), ("MASQUE_DATA", "in-variable")];
    let flags =
        Flags { listen: Some("localhost:3".into()), data: Some("in-flag".into()), ..Flags::default() };
    let other = Flags { config: Some("other.toml".into()), ..Flags::default() };
    for (flags, variables, port, data) in [
        (&Flags::default(), &[][..], 1, "in-file"),
        (&Flags::default(), &variables, 2, "in-variable"),
        (&flags, &variables, 3, "in-flag"),
        (&Flags::default(), &[("MASQUE_CONFIG", "other.toml")], 4, "masque-data"),
        (&other, &[("MASQUE_CONFIG", "none.toml")], 4, "masque-data"),
    ] {
        let config = folder.load(flags, variables).unwrap().config;
        assert_eq!(config.server.listen.port(), port);
        assert!(config.data.folder.ends_with(data), "{}", config.data.folder.display());
    }
}

#[test]
fn a_secret_from_a_file_loses_only_its_line_break() {
    let folder = Folder::new()
        .with(
            "masque.toml",
            "[credentials.one]\norigin = \"http://127.0.0.1:9\"\nheader = \"x-key\"\nvalue_file = \"key\"\n\
             [plugins.mine]\nsource = \"builtin:openai\"\n\
             grants = { http = [\"http://127.0.0.1:9/v1\"], credentials = [\"one\"] }\n",
        )
        .with("key", "s3cret \n");
    let config = folder.load(&Flags::default(), &[]).unwrap().config;
    let credential = &config.plugins.get("mine").unwrap().grants.credentials[0];
    assert_eq!(credential.header(), "x-key");
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn a_configuration_never_prints_its_secrets() {
    let printed = format!("{:?} {:#?}", example(), example());
    assert!(printed.contains("openai") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn a_digest_tells_configurations_apart_but_not_secrets() {
    let folder = Folder::new().with("masque.toml", EXAMPLE).with("cards/elara.json", "{}");
    let with_key = |key| folder.load(&Flags::default(), &[("OPENAI_API_KEY", key)]).unwrap().config.digest();
    assert_eq!(with_key("one"), with_key("two"));
    let before = with_key("one");
    assert!(before.starts_with("sha256:") && before.len() == 71, "{before}");
    let folder = folder.with("cards/elara.json", "{ }");
    let after = folder.load(&Flags::default(), KEY).unwrap().config.digest();
    assert_ne!(after, before);
}

#[test]
fn a_mistake_that_shows_later_is_placed_in_the_file() {
    let locations = example().locations;
    let at =
        |line, column| Place::File { path: "masque.toml".into(), position: Some(Position { line, column }) };
    for (place, expected) in [
        (locations.setting("elara", "/card"), at(11, 14)),
        (locations.setting("elara", "/card/name/first"), at(11, 14)),
        (locations.setting("openai", ""), at(15, 1)),
        (locations.setting("openai", "/mod~1el"), at(15, 1)),
        (locations.plugin("openai", "source"), at(14, 12)),
        (locations.plugin("openai", "grants/http/0"), at(16, 22)),
        (locations.companion("elara", "models/1"), at(5, 22)),
        (locations.companion("elara", "nothing"), at(2, 13)),
        (locations.setting("window", "/x"), Place::Builtin("plugin `window`".into())),
    ] {
        assert_eq!(place, expected);
    }
}

#[test]
fn a_plugin_of_the_file_takes_the_whole_place_of_the_built_in_one() {
    let folder = Folder::new().with("masque.toml", "[plugins.window]\nsource = \"builtin:window\"\n");
    let config = folder.load(&Flags::default(), &[]).unwrap().config;
    assert!(!config.plugins.get("window").unwrap().grants.history);
    assert_eq!(config.plugins.len(), 3);
}

#[test]
fn a_companion_of_the_file_is_there_alone_with_the_built_in_plugins_that_it_names() {
    let folder = Folder::new()
        .with("masque.toml", "[companions.mia]\npersona = \"mia\"\nmodels = [\"offline\"]\n[plugins.mia]\nsource = \"builtin:card\"\n");
    let config = folder.load(&Flags::default(), &[]).unwrap().config;
    assert_eq!(config.companions.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["mia"]);
    assert_eq!(
        config.plugins.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
        ["mia", "offline", "window"]
    );
}

#[test]
fn an_empty_file_changes_nothing() {
    let digest = |folder: Folder| {
        let flags = Flags { data: Some("/data".into()), ..Flags::default() };
        folder.load(&flags, &[]).unwrap().config.digest()
    };
    assert_eq!(digest(Folder::new().with("masque.toml", "# nothing\n")), digest(Folder::new()));
    assert_eq!(lines_of(Folder::new().load(&Flags::default(), &[])), [""; 0]);
}

#[test]
fn a_plugin_whose_grants_differ_has_other_terms() {
    let terms = |grants: &str| {
        let file = format!("[plugins.offline]\nsource = \"builtin:offline\"\ngrants = {{ {grants} }}\n");
        let folder = Folder::new().with("masque.toml", file);
        folder.load(&Flags::default(), &[]).unwrap().config.plugins["offline"].terms()
    };
    let all =
        ["", "state = true", "history = true", "models = true", "scratch = \"1MiB\"", "reuse = \"user\""];
    for (index, grants) in all.iter().enumerate() {
        assert!(terms(grants) == terms(grants));
        for others in &all[index + 1..] {
            assert!(terms(grants) != terms(others), "{grants:?} and {others:?}");
        }
    }
}
