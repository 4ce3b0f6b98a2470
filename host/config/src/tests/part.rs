//! The parts of a configuration that commands beside a host read.

use super::Folder;
use super::reference::keys_that_are_read;
use crate::{Diagnostics, Flags};

type Variables = &'static [(&'static str, &'static str)];

fn lines_of<T>(loaded: Result<T, Diagnostics>) -> Vec<String> {
    let mistakes = loaded.map_or_else(|mistakes| mistakes.to_string(), |_| String::new());
    mistakes.lines().map(str::to_owned).collect()
}

#[test]
fn a_mistake_in_the_rest_of_the_configuration_stops_no_command() {
    let cases: &[(&str, Variables)] = &[
        ("[plugins.ghost]\nsource = \"ghost.wasm\"\n", &[]),
        ("[plugins.ghost]\nsource = 1\ngrant = {}\n", &[]),
        ("[companions.ida]\npersona = \"ghost\"\nmodels = []\n", &[]),
        ("[credentials.one]\norigin = \"http://a.test\"\nheader = \"x-key\"\nvalue_file = \"none\"\n", &[]),
        ("[credentials.one]\norigin = \"http://a.test\"\nheader = \"x-key\"\nvalue = \"${NONE}\"\n", &[]),
        ("[auth]\nsecret_file = \"none\"\nleeway = 1\n", &[]),
        ("[auth.issuers.one]\nissuer = \"https://id.test\"\njwks_file = \"none\"\n", &[]),
        ("[turn]\nwait = 1\n[server]\nlisen = \"\"\n[sever]\n[plugin.x]\n", &[]),
        ("", &[("JWT_SECRET_KEY_FILE", "none")]),
        ("", &[("ENVIRONMENT", "production")]),
        ("", &[("ENVIRONMENT", "prod"), ("REDIS_ENABLED", "true"), ("CORS_ORIGINS", "*")]),
    ];
    for (rest, variables) in cases {
        let needed = "[data]\nfolder = \"d\"\n[erasure]\nlist = \"e\"\n";
        let folder = Folder::new().with("masque.toml", format!("{needed}{rest}"));
        let source = folder.source(&Flags::default(), variables);
        assert!(source.load().is_err(), "a host takes it: {rest} {variables:?}");
        let state = source.load_state().unwrap().part;
        assert_eq!(
            (state.folder, state.erasures),
            (folder.path().join("d"), folder.path().join("e")),
            "{rest}"
        );
        assert_eq!(source.load_data_folder().unwrap().part, folder.path().join("d"), "{rest}");
        assert_eq!(source.load_token_issuers().unwrap().part.own, "masque", "{rest}");
    }
}

#[test]
fn a_mistake_in_what_a_command_needs_is_refused_as_a_host_refuses_it() {
    let cases: &[(&str, Variables)] = &[
        ("[data]\nfolder = 1\n", &[]),
        ("[data]\nfoldr = \"d\"\n", &[]),
        ("[date]\nfolder = \"d\"\n", &[]),
        ("[database]\nmax_connections = 0\n", &[]),
        ("[erasure]\nlist = \"\"\n", &[]),
        ("[turn\n", &[]),
        ("[turn]\nwait = \"1s\"\nwait = \"1s\"\n", &[]),
        ("", &[("DATABASE_URL", "sqlite:///x")]),
        ("", &[("DATABASE_DIRECT_URL", "postgres://db/masque")]),
        ("", &[("MASQUE_CONFIG", "none.toml")]),
    ];
    for (file, variables) in cases {
        let folder = Folder::new().with("masque.toml", file);
        let source = folder.source(&Flags::default(), variables);
        let refused = lines_of(source.load_state());
        assert!(!refused.is_empty(), "{file} {variables:?} is taken");
        assert_eq!(refused, lines_of(source.load().map_err(|invalid| invalid.diagnostics)), "{file}");
    }
}

#[test]
fn a_command_for_the_data_folder_needs_nothing_else_and_a_flag_takes_the_place_of_the_section() {
    let folder = Folder::new().with("masque.toml", "[database]\nmax_connections = 0\n[data]\nfolder = 1\n");
    let source = |flags: &Flags| folder.source(flags, &[("DATABASE_URL", "sqlite:///x")]);
    assert!(source(&Flags::default()).load_data_folder().is_err());
    let named = Flags { data: Some("d".into()), ..Flags::default() };
    assert_eq!(source(&named).load_data_folder().unwrap().part, folder.path().join("d"));
}

#[test]
fn no_part_takes_a_key_of_another_part_for_a_mistyped_one() {
    for (section, key) in keys_that_are_read().into_keys() {
        let section = section.replace("NAME", "one");
        let folder = Folder::new().with("masque.toml", format!("[{section}]\n{key} = 1\n"));
        for data in [None, Some("d".into())] {
            let source = folder.source(&Flags { data, ..Flags::default() }, &[]);
            let found = [
                lines_of(source.load_data_folder()),
                lines_of(source.load_state()),
                lines_of(source.load_token_issuers()),
            ];
            let unknown = found.iter().flatten().find(|line| line.contains("unknown"));
            assert!(unknown.is_none(), "[{section}] {key}: {unknown:?}");
        }
    }
}

#[test]
fn only_the_issuers_of_tokens_can_be_wrong_for_their_revocation() {
    let folder = |text: &str| Folder::new().with("masque.toml", text);
    let load = |folder: &Folder| folder.source(&Flags::default(), &[]).load_token_issuers();
    let issuers =
        load(&folder("[auth]\nissuer = \"us\"\n[auth.issuers.a]\nissuer = \"them\"\n")).unwrap().part;
    assert!(issuers.trusts("us") && issuers.trusts("them") && !issuers.trusts("masque"));
    for text in [
        "[auth]\nissuer = \"local\"\n",
        "[auth]\nisuer = \"us\"\n",
        "[auth.issuers.a]\njwks_url = \"https://id.test/keys\"\n",
    ] {
        let folder = folder(text);
        assert!(load(&folder).is_err(), "{text}");
        assert!(folder.source(&Flags::default(), &[]).load_state().is_ok(), "{text}");
    }
}

#[test]
fn the_names_of_companions_are_known_whatever_else_is_wrong_with_them() {
    let names = |text: &str| -> Vec<String> {
        let folder = Folder::new().with("masque.toml", text);
        let state = folder.source(&Flags::default(), &[]).load_state().unwrap().part;
        state.companions.iter().map(ToString::to_string).collect()
    };
    assert_eq!(names("[companions.ida]\npersona = 1\n"), ["ida"]);
    assert_eq!(names(""), ["elara"]);
}

#[test]
fn a_weak_password_of_the_database_is_a_warning_in_production() {
    let folder = Folder::new();
    let warnings = |stage| {
        let variables = [("ENVIRONMENT", stage), ("DATABASE_URL", "postgres://me:me@localhost/masque")];
        folder.source(&Flags::default(), &variables).load_state().unwrap().warnings.to_string()
    };
    assert!(warnings("production").starts_with("DATABASE_URL: warning: "), "{}", warnings("production"));
    assert_eq!(warnings("development"), "");
}
