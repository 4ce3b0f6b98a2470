//! The plugins folder, and a running host that reads its configuration again.

use super::{Folder, lines_of};
use crate::{Config, ConfigSource, Flags, Location, PluginSource, ReloadedConfig};

const COMPANION: &str = "[companions.ida]\npersona = \"ida\"\nmodels = [\"offline\"]\n";

fn source(folder: &Folder) -> ConfigSource {
    folder.source(&Flags::default(), &[])
}

fn reload(folder: &Folder, running: &Config) -> Vec<String> {
    let reloaded = source(folder).reload(running);
    shortened(folder, lines_of(reloaded.result.map_err(|invalid| invalid.diagnostics)))
}

fn load(folder: &Folder) -> Vec<String> {
    shortened(folder, lines_of(source(folder).load().map_err(|invalid| invalid.diagnostics)))
}

/// The lines without the path of the temporary folder.
fn shortened(folder: &Folder, lines: Vec<String>) -> Vec<String> {
    let prefix = format!("{}/", folder.path().display());
    lines.iter().map(|line| line.replace(&prefix, "").replace("./masque-data", "masque-data")).collect()
}

#[test]
fn a_component_in_the_plugins_folder_is_a_plugin_without_settings_and_grants() {
    let folder = Folder::new()
        .with("masque.toml", COMPANION)
        .with("masque-data/plugins/ida.wasm", "")
        .with("masque-data/plugins/window.wasm", "")
        .with("masque-data/plugins/.ida.wasm.swp", "")
        .with("masque-data/plugins/ida.wasm.part", "");
    let config = source(&folder).load().unwrap().config;
    assert_eq!(
        config.plugins.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
        ["ida", "offline", "window"]
    );
    let ida = config.plugins.get("ida").unwrap();
    assert_eq!(ida.source, PluginSource::File(folder.path().join("masque-data/plugins/ida.wasm")));
    assert!(ida.settings.is_empty());
    assert!(!config.plugins.get("window").unwrap().grants.history, "what is built in has that grant");
    let location = config.locations.setting("ida", "/name");
    let expected = folder.path().join("masque-data/plugins/ida.wasm");
    assert_eq!(location, Location::File { path: expected, position: None });
}

#[test]
fn a_section_without_a_source_configures_the_component_in_the_folder() {
    let section = "[plugins.ida]\nsettings = { name = \"Ida\" }\ngrants = { state = true }\n";
    let folder = Folder::new()
        .with("masque.toml", format!("{COMPANION}{section}"))
        .with("masque-data/plugins/ida.wasm", "");
    let config = source(&folder).load().unwrap().config;
    let ida = config.plugins.get("ida").unwrap();
    assert!(matches!(&ida.source, PluginSource::File(path) if path.ends_with("plugins/ida.wasm")));
    assert!(ida.grants.state && ida.settings.contains_key("name"));
}

#[test]
fn a_section_without_a_source_and_without_a_component_is_told_both_remedies() {
    let folder = Folder::new().with("masque.toml", format!("{COMPANION}[plugins.ida]\n"));
    assert_eq!(
        load(&folder),
        [
            "masque.toml:4:10: [plugins.ida] has no `source`. Add for example `source = \"builtin:card\"`, or put the \
          component at masque-data/plugins/ida.wasm."
        ]
    );
}

#[test]
fn a_source_takes_precedence_over_the_component_in_the_folder_with_a_warning() {
    let folder = Folder::new()
        .with("masque.toml", format!("{COMPANION}[plugins.ida]\nsource = \"builtin:card\"\n"))
        .with("masque-data/plugins/ida.wasm", "")
        .with("masque-data/plugins/Ida Two.wasm", "");
    assert_eq!(
        load(&folder),
        [
            "masque-data/plugins/Ida Two.wasm: warning: it is ignored, since its name can't be a plugin's: names are 1 \
             to 64 of the characters a-z, 0-9 and -. Rename it, for example to `mine.wasm`.",
            "masque.toml:5:10: warning: `source` in [plugins.ida] counts, and masque-data/plugins/ida.wasm is ignored. \
             Remove one of the two.",
        ]
    );
}

#[test]
fn an_invalid_json_file_is_reported_when_the_configuration_is_read() {
    let section = "[plugins.ida]\nsource = \"builtin:card\"\nsettings = { card = { file = \"ida.json\" } }\n";
    let folder =
        Folder::new().with("masque.toml", format!("{COMPANION}{section}")).with("ida.json", "{ \"name\": ");
    let lines = load(&folder);
    assert!(lines[0].starts_with("masque.toml:6:30: ida.json is not JSON: "), "{lines:?}");
    let folder = folder.with("ida.json", "\u{feff}{}");
    assert_eq!(load(&folder), [""; 0]);
}

#[test]
fn a_file_that_is_gone_or_empty_is_refused_only_while_the_host_runs() {
    let folder = Folder::new().with("masque.toml", "[turn]\nwait = \"1s\"\n");
    let running = source(&folder).load().unwrap().config;
    let folder = folder.with("masque.toml", "");
    assert_eq!(load(&folder), [""; 0]);
    assert_eq!(
        reload(&folder, &running),
        [
            "masque.toml: the file is empty. If that is meant, leave a comment in it: a line that begins with `#`."
        ]
    );
    std::fs::remove_file(folder.path().join("masque.toml")).unwrap();
    assert_eq!(load(&folder), [""; 0]);
    assert_eq!(
        reload(&folder, &running),
        ["masque.toml: the file is gone. Put it back, or start the host again to run without it."]
    );

    let folder = folder.with("masque.toml", "");
    let started_empty = source(&folder).load().unwrap().config;
    assert_eq!(reload(&folder, &started_empty), [""; 0]);
}

#[test]
fn a_running_host_keeps_its_plugins_folder_when_the_data_folder_changes() {
    let folder = Folder::new().with("masque.toml", COMPANION).with("masque-data/plugins/ida.wasm", "");
    let running = source(&folder).load().unwrap().config;
    let folder = folder.with("masque.toml", format!("{COMPANION}[data]\nfolder = \"elsewhere\"\n"));
    let config = source(&folder).reload(&running).result.unwrap().config;
    assert!(config.plugins.contains_key("ida"));
    assert_eq!(running.changed_sections(&config), ["[data]"]);
}

#[test]
fn a_failed_reading_still_returns_the_files_to_watch() {
    let section = "[plugins.ida]\nsource = \"builtin:card\"\nsettings = { card = { file = \"ida.json\" } }\n";
    let folder = Folder::new().with("masque.toml", COMPANION).with("masque-data/plugins/ida.wasm", "");
    let running = source(&folder).load().unwrap().config;
    let folder = folder.with("masque.toml", format!("{COMPANION}{section}"));
    let ReloadedConfig { result, files, .. } = source(&folder).reload(&running);
    assert!(result.is_err());
    let folder = folder.with("ida.json", "{}");
    assert!(files.differs_from(&files.retake()), "the file that was missing is there");
    assert!(source(&folder).reload(&running).result.is_ok());
}

#[test]
fn a_failed_reading_returns_the_valid_part_unless_a_file_could_not_be_read_to_its_end() {
    let folder = Folder::new().with("masque.toml", COMPANION).with("masque-data/plugins/ida.wasm", "");
    let running = source(&folder).load().unwrap().config;
    let folder = folder.with("masque.toml", format!("{COMPANION}[plugins.ghost]\n"));
    let invalid = source(&folder).reload(&running).result.unwrap_err();
    let plugins = invalid.valid_part.unwrap().plugins;
    assert!(plugins.contains_key("ida") && !plugins.contains_key("ghost"));
    for broken in [format!("{COMPANION}[plugins.ghost\n"), String::new()] {
        let folder = Folder::new().with("masque.toml", broken);
        assert!(source(&folder).reload(&running).result.unwrap_err().valid_part.is_none());
    }
}

#[test]
fn the_level_of_the_log_is_read_from_a_file_with_other_mistakes_and_from_no_broken_one() {
    let folder = Folder::new().with("masque.toml", COMPANION).with("masque-data/plugins/ida.wasm", "");
    let running = source(&folder).load().unwrap().config;
    for (text, level) in [
        ("[log]\nlevel = \"debug\"\n[plugins.x]\nsource = \"missing.wasm\"\n", Some("debug")),
        ("[log]\nlevel = \"debug\"\n[turn]\nwait = \"soon\"\n", Some("debug")),
        ("[turn]\nwait = \"soon\"\n", Some("info")),
        ("[log]\nlevel = \"loud\"\n", None),
        ("[log]\nlevel = \"debug\"\n[turn\n", None),
        ("", None),
    ] {
        let reloaded = source(&Folder::new().with("masque.toml", text)).reload(&running);
        assert_eq!(reloaded.log_level.as_deref(), level, "{text}");
    }
}

#[test]
fn a_fingerprint_covers_secrets_and_the_digest_does_not() {
    let toml = "[plugins.ida]\nsource = \"builtin:openai\"\n\
                grants = { http = [\"http://127.0.0.1:9\"], credentials = [\"one\"] }\n\
                [credentials.one]\norigin = \"http://127.0.0.1:9\"\nheader = \"x-key\"\nvalue_file = \"key\"\n";
    let folder = Folder::new().with("masque.toml", toml).with("key", "one");
    let before = source(&folder).load().unwrap().config;
    let folder = folder.with("key", "two");
    let after = source(&folder).load().unwrap().config;
    assert_eq!(before.digest(), after.digest());
    let fingerprint = |config: &Config| config.plugins.get("ida").unwrap().fingerprint();
    assert!(
        fingerprint(&before).grants != fingerprint(&after).grants
            && fingerprint(&before).settings == fingerprint(&after).settings
    );
    assert_eq!(format!("{:?}", fingerprint(&after)), "PluginFingerprint { .. }");
}
