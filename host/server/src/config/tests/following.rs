//! The plugins folder, and what a host that runs finds when it reads its configuration again.

use super::{Folder, environment, lines_of};
use crate::config::{Attempt, Config, Flags, Origin, Place, Source};

const COMPANION: &str = "[companions.ida]\npersona = \"ida\"\nmodels = [\"offline\"]\n";

fn origin(folder: &Folder) -> Origin {
    Origin { flags: Flags::default(), environment: environment(&[]), folder: folder.path().to_path_buf() }
}

fn again(folder: &Folder, running: &Config) -> Vec<String> {
    shortened(folder, lines_of(origin(folder).again(running).loaded))
}

fn first_lines(folder: &Folder) -> Vec<String> {
    shortened(folder, lines_of(origin(folder).load().map_err(|mistaken| mistaken.problems)))
}

/// Without the folder that it is all in.
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
    let config = origin(&folder).load().unwrap().config;
    assert_eq!(
        config.plugins.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
        ["ida", "offline", "window"]
    );
    let ida = config.plugins.get("ida").unwrap();
    assert_eq!(ida.source, Source::File(folder.path().join("masque-data/plugins/ida.wasm")));
    assert!(ida.settings.is_empty());
    assert!(!config.plugins.get("window").unwrap().grants.history, "what is built in has that grant");
    let place = config.locations.setting("ida", "/name");
    let expected = folder.path().join("masque-data/plugins/ida.wasm");
    assert_eq!(place, Place::File { path: expected, position: None });
}

#[test]
fn a_section_without_a_source_says_what_the_component_in_the_folder_runs_under() {
    let section = "[plugins.ida]\nsettings = { name = \"Ida\" }\ngrants = { state = true }\n";
    let folder = Folder::new()
        .with("masque.toml", format!("{COMPANION}{section}"))
        .with("masque-data/plugins/ida.wasm", "");
    let config = origin(&folder).load().unwrap().config;
    let ida = config.plugins.get("ida").unwrap();
    assert!(matches!(&ida.source, Source::File(path) if path.ends_with("plugins/ida.wasm")));
    assert!(ida.grants.state && ida.settings.contains_key("name"));
}

#[test]
fn a_section_without_a_source_and_without_a_component_is_told_both_ways_out() {
    let folder = Folder::new().with("masque.toml", format!("{COMPANION}[plugins.ida]\n"));
    assert_eq!(
        first_lines(&folder),
        [
            "masque.toml:4:10: [plugins.ida] has no `source`. Add for example `source = \"builtin:card\"`, or put the \
          component at masque-data/plugins/ida.wasm."
        ]
    );
}

#[test]
fn a_source_counts_and_the_component_in_the_folder_is_said_to_be_ignored() {
    let folder = Folder::new()
        .with("masque.toml", format!("{COMPANION}[plugins.ida]\nsource = \"builtin:card\"\n"))
        .with("masque-data/plugins/ida.wasm", "")
        .with("masque-data/plugins/Ida Two.wasm", "");
    assert_eq!(
        first_lines(&folder),
        [
            "masque-data/plugins/Ida Two.wasm: warning: it is ignored, since its name can't be a plugin's: names are 1 \
             to 64 of the characters a-z, 0-9 and -. Rename it, for example to `mine.wasm`.",
            "masque.toml:5:10: warning: `source` in [plugins.ida] counts, and masque-data/plugins/ida.wasm is ignored. \
             Remove one of the two.",
        ]
    );
}

#[test]
fn a_file_called_json_that_is_none_is_told_before_a_turn_needs_it() {
    let section = "[plugins.ida]\nsource = \"builtin:card\"\nsettings = { card = { file = \"ida.json\" } }\n";
    let folder =
        Folder::new().with("masque.toml", format!("{COMPANION}{section}")).with("ida.json", "{ \"name\": ");
    let lines = first_lines(&folder);
    assert!(lines[0].starts_with("masque.toml:6:30: ida.json is not JSON: "), "{lines:?}");
    let folder = folder.with("ida.json", "\u{feff}{}");
    assert_eq!(first_lines(&folder), [""; 0]);
}

#[test]
fn a_file_that_is_gone_or_empty_is_refused_by_a_host_that_runs_and_not_by_one_that_starts() {
    let folder = Folder::new().with("masque.toml", "[turn]\nwait = \"1s\"\n");
    let running = origin(&folder).load().unwrap().config;
    let folder = folder.with("masque.toml", "");
    assert_eq!(first_lines(&folder), [""; 0]);
    assert_eq!(
        again(&folder, &running),
        [
            "masque.toml: the file is empty. If that is meant, leave a comment in it: a line that begins with `#`."
        ]
    );
    std::fs::remove_file(folder.path().join("masque.toml")).unwrap();
    assert_eq!(first_lines(&folder), [""; 0]);
    assert_eq!(
        again(&folder, &running),
        ["masque.toml: the file is gone. Put it back, or start the host again to run without it."]
    );

    let folder = folder.with("masque.toml", "");
    let began_empty = origin(&folder).load().unwrap().config;
    assert_eq!(again(&folder, &began_empty), [""; 0]);
}

#[test]
fn a_running_host_keeps_its_plugins_folder_wherever_the_file_would_have_it() {
    let folder = Folder::new().with("masque.toml", COMPANION).with("masque-data/plugins/ida.wasm", "");
    let running = origin(&folder).load().unwrap().config;
    let folder = folder.with("masque.toml", format!("{COMPANION}[data]\nfolder = \"elsewhere\"\n"));
    let config = origin(&folder).again(&running).loaded.unwrap().config;
    assert!(config.plugins.contains_key("ida"));
    assert_eq!(running.other_sections(&config), ["[data]"]);
}

#[test]
fn a_reading_that_fails_still_says_what_to_look_at_again() {
    let section = "[plugins.ida]\nsource = \"builtin:card\"\nsettings = { card = { file = \"ida.json\" } }\n";
    let folder = Folder::new().with("masque.toml", COMPANION).with("masque-data/plugins/ida.wasm", "");
    let running = origin(&folder).load().unwrap().config;
    let folder = folder.with("masque.toml", format!("{COMPANION}{section}"));
    let Attempt { loaded, sources } = origin(&folder).again(&running);
    assert!(loaded.is_err());
    let folder = folder.with("ida.json", "{}");
    assert!(sources.differ(&sources.again()), "the file that was missing is there");
    assert!(origin(&folder).again(&running).loaded.is_ok());
}

#[test]
fn terms_tell_secrets_apart_that_the_digest_does_not() {
    let toml = "[plugins.ida]\nsource = \"builtin:openai\"\n\
                grants = { http = [\"http://127.0.0.1:9\"], credentials = [\"one\"] }\n\
                [credentials.one]\norigin = \"http://127.0.0.1:9\"\nheader = \"x-key\"\nvalue_file = \"key\"\n";
    let folder = Folder::new().with("masque.toml", toml).with("key", "one");
    let before = origin(&folder).load().unwrap().config;
    let folder = folder.with("key", "two");
    let after = origin(&folder).load().unwrap().config;
    assert_eq!(before.digest(), after.digest());
    let terms = |config: &Config| config.plugins.get("ida").unwrap().terms();
    assert!(
        terms(&before).grants != terms(&after).grants && terms(&before).settings == terms(&after).settings
    );
    assert_eq!(format!("{:?}", terms(&after)), "Terms { .. }");
}
