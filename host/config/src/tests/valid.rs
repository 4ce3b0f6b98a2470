//! The values of valid configurations.

use std::time::Duration;

use masque_grants::Builtin;

use super::{Folder, lines_of};
use crate::{Config, Flags, Location, PluginSource, Position};

/// The first example of the reference.
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
fn without_a_configuration_there_is_a_companion_that_needs_no_network() {
    let config = Folder::new().load(&Flags::default(), &[]).unwrap().config;
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8000");
    assert!(config.data.folder.ends_with("masque-data"));
    let elara = config.companions.get("elara").unwrap();
    assert_eq!((&*elara.persona, &*elara.memory, &*elara.models[0]), ("elara", "window", "offline"));
    for plugin in config.plugins.values() {
        let grants = &plugin.grants;
        assert!(grants.http.is_empty() && grants.networks.is_empty() && grants.credentials.is_empty());
    }
    assert!(config.plugins.get("window").unwrap().grants.history);
    assert!(config.plugins.get("elara").unwrap().settings_json().contains("Elara"));
}

#[test]
fn the_file_defines_the_plugins_of_a_companion() {
    let config = example();
    let elara = config.companions.get("elara").unwrap();
    assert_eq!(elara.models.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["openai", "offline"]);
    assert!(elara.fallback);
    assert_eq!(elara.options.get("temperature").unwrap(), 0.8);

    let openai = config.plugins.get("openai").unwrap();
    assert_eq!(openai.source, PluginSource::Builtin(Builtin::Openai));
    assert_eq!(openai.limits.wall, Some(Duration::from_secs(60)));
    assert_eq!(openai.limits.memory_bytes, 32 << 20);
    let grants = &openai.grants;
    assert_eq!(grants.http[0].to_string(), "https://api.openai.com");
    let secrets = grants.credentials[0].secrets();
    assert!(secrets.iter().any(|secret| secret.reveal() == "sk-hunter2$"));
}

#[test]
fn what_a_plugin_may_store_is_its_own_limit() {
    let config = "[plugins.mine]\nsource = \"mine.wasm\"\nlimits.state = \"1MiB\"\n\n[plugins.other]\nsource = \"mine.wasm\"\n";
    let folder = Folder::new().with("masque.toml", config).with("mine.wasm", "");
    let config = folder.load(&Flags::default(), &[]).unwrap().config;
    let limits = |name: &str| masque_grants::Limits::from(config.plugins.get(name).unwrap().limits);
    assert_eq!((limits("mine").state_bytes, limits("other").state_bytes), (1 << 20, 16 << 20));
}

#[test]
fn a_setting_that_names_only_a_file_becomes_the_text_of_the_file() {
    let config = example();
    assert_eq!(
        config.plugins.get("elara").unwrap().settings_json(),
        r#"{"card":"{}","names":{"file":"a","other":"b"}}"#
    );
}

#[test]
fn a_setting_that_names_an_image_becomes_a_data_url_and_its_file_is_known() {
    let config = Folder::new()
        .with(
            "masque.toml",
            "[plugins.ida]\nsource = \"builtin:card\"\nsettings = { card = { file = \"ida.png\" }, more = [{ file = \"a.txt\" }] }\n",
        )
        .with("ida.png", b"\x89PNG\r\n\x1a\n\xff")
        .with("a.txt", "a")
        .load(&Flags::default(), &[])
        .unwrap()
        .config;
    let ida = config.plugins.get("ida").unwrap();
    assert_eq!(ida.settings_json(), r#"{"card":"data:image/png;base64,iVBORw0KGgr/","more":["a"]}"#);
    let files: Vec<_> = ida.setting_files.iter().map(|(at, file)| (&**at, file.to_str().unwrap())).collect();
    assert_eq!(files, [("/card", "ida.png"), ("/more/0", "a.txt")]);
}

#[test]
fn relative_paths_start_at_the_folder_of_the_configuration_file() {
    let folder = Folder::new()
        .with("etc/masque.toml", "[data]\nfolder = \"state\"\n[plugins.mine]\nsource = \"mine.wasm\"\n")
        .with("etc/mine.wasm", "");
    let flags = Flags { config: Some("etc/masque.toml".into()), ..Flags::default() };
    let config = folder.load(&flags, &[]).unwrap().config;
    assert_eq!(config.data.folder, folder.path().join("etc/state"));
    assert_eq!(
        config.plugins.get("mine").unwrap().source,
        PluginSource::File(folder.path().join("etc/mine.wasm"))
    );
}

#[test]
fn flags_take_precedence_over_variables_and_variables_over_the_file() {
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
fn a_secret_from_a_file_loses_the_white_space_around_it() {
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
fn a_digest_covers_the_configuration_without_its_secrets() {
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
fn a_mistake_that_is_found_later_has_a_location_in_the_file() {
    let locations = example().locations;
    let at = |line, column| Location::File {
        path: "masque.toml".into(),
        position: Some(Position { line, column }),
    };
    for (location, expected) in [
        (locations.setting("elara", "/card"), at(11, 14)),
        (locations.setting("elara", "/card/name/first"), at(11, 14)),
        (locations.setting("openai", ""), at(15, 1)),
        (locations.setting("openai", "/mod~1el"), at(15, 1)),
        (locations.plugin("openai", "source"), at(14, 12)),
        (locations.plugin("openai", "grants/http/0"), at(16, 22)),
        (locations.companion("elara", "models/1"), at(5, 22)),
        (locations.companion("elara", "nothing"), at(2, 13)),
        (locations.setting("window", "/x"), Location::Builtin("plugin `window`".into())),
    ] {
        assert_eq!(location, expected);
    }
}

#[test]
fn a_plugin_of_the_file_replaces_the_whole_default_plugin() {
    let folder = Folder::new().with("masque.toml", "[plugins.window]\nsource = \"builtin:window\"\n");
    let config = folder.load(&Flags::default(), &[]).unwrap().config;
    assert!(!config.plugins.get("window").unwrap().grants.history);
    assert_eq!(config.plugins.len(), 3);
}

#[test]
fn a_companion_of_the_file_replaces_the_default_companion() {
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
fn a_plugin_with_other_grants_has_another_fingerprint() {
    let fingerprint = |grants: &str| {
        let file = format!("[plugins.offline]\nsource = \"builtin:offline\"\ngrants = {{ {grants} }}\n");
        let folder = Folder::new().with("masque.toml", file);
        folder.load(&Flags::default(), &[]).unwrap().config.plugins["offline"].fingerprint()
    };
    let all =
        ["", "state = true", "history = true", "models = true", "scratch = \"1MiB\"", "reuse = \"user\""];
    for (index, grants) in all.iter().enumerate() {
        assert!(fingerprint(grants) == fingerprint(grants));
        for others in &all[index + 1..] {
            assert!(fingerprint(grants) != fingerprint(others), "{grants:?} and {others:?}");
        }
    }
}

#[test]
fn the_erasure_list_is_in_the_data_folder_or_where_the_operator_says() {
    let data = std::path::Path::new("/data");
    let list = |text: &str| {
        let folder = Folder::new().with("masque.toml", text);
        folder.load(&Flags::default(), &[]).unwrap().config.erasure.list(data)
    };
    assert_eq!(list(""), data.join("erasures.jsonl"));
    assert_eq!(
        list("[erasure]\nlist = \"/backups/erased.jsonl\"\n"),
        std::path::Path::new("/backups/erased.jsonl")
    );
}

#[test]
fn conversations_are_kept_for_ever_unless_the_operator_says_for_how_long() {
    let retention = |file: &str| {
        let folder = Folder::new().with("masque.toml", file);
        folder.load(&Flags::default(), &[]).unwrap().config.retention
    };
    let day = std::time::Duration::from_secs(24 * 3600);
    let default = retention("");
    assert_eq!((default.conversations, default.audit, default.spending), (None, 400 * day, 400 * day));
    let set = retention("[retention]\nconversations = \"365d\"\naudit = \"1d\"\nspending = \"2years\"\n");
    assert_eq!((set.conversations, set.audit), (Some(365 * day), day));
    assert!(set.spending > 730 * day, "{:?}", set.spending);
}

#[test]
fn texts_of_turns_are_recorded_only_without_authentication_or_if_asked_for() {
    use crate::RecordContent::{Digests, Full, Off};
    const SECRET: (&str, &str) = ("JWT_SECRET_KEY", "an-example-secret-with-enough-bytes");
    let cases: [(&str, &[(&str, &str)], _); 5] = [
        ("", &[], Full),
        ("", &[SECRET], Digests),
        ("[records]\ncontent = \"off\"", &[], Off),
        ("[records]\ncontent = \"full\"", &[SECRET], Full),
        ("[records]\ncontent = \"digests\"", &[], Digests),
    ];
    for (file, variables, content) in cases {
        let loaded = Folder::new().with("masque.toml", file).load(&Flags::default(), variables).unwrap();
        assert_eq!(loaded.config.records.content, content, "{file:?} {variables:?}");
    }
    let records = Folder::new().load(&Flags::default(), &[]).unwrap().config.records;
    assert_eq!((records.max_record_bytes, records.max_total_bytes), (256 << 10, 1 << 30));
    assert_eq!((records.max_age, records.share), (Duration::from_secs(7 * 86_400), 1.0));
    let file = "[records]\nmax_record_bytes = \"64KiB\"\nmax_total_bytes = \"2GiB\"\nmax_age = \"1day\"\nshare = 0.25";
    let records =
        Folder::new().with("masque.toml", file).load(&Flags::default(), &[]).unwrap().config.records;
    assert_eq!((records.max_record_bytes, records.max_total_bytes), (64 << 10, 2 << 30));
    assert_eq!((records.max_age, records.share), (Duration::from_secs(86_400), 0.25));
}

#[test]
fn production_warns_of_recorded_texts() {
    let warnings = |content: &str| {
        let file = format!("[records]\ncontent = \"{content}\"");
        let flags = Flags { production: true, ..Flags::default() };
        let result = Folder::new().with("masque.toml", &file).load(&flags, &[]);
        let diagnostics = result.map_or_else(|invalid| invalid, |loaded| loaded.warnings);
        diagnostics.to_string().matches("texts of turns are recorded").count()
    };
    assert_eq!((warnings("full"), warnings("digests")), (1, 0));
}
