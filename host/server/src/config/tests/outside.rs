//! Mistakes that are not in a line of the file: the file itself, variables, flags.

use super::{Folder, lines_of};
use crate::config::Flags;

type Variables = &'static [(&'static str, &'static str)];

#[test]
fn a_variable_that_asks_for_what_is_not_there_is_refused_and_never_ignored() {
    let refused: &[(Variables, &[&str])] = &[
        (
            &[("ENVIRONMENT", "production")],
            &["ENVIRONMENT: `production` needs authentication, which this version does not have yet. \
               Set it to `development` or `test`, and let only this machine reach the host."],
        ),
        (
            &[("ENVIRONMENT", "staging")],
            &["ENVIRONMENT: `staging` needs authentication, which this version does not have yet. \
               Set it to `development` or `test`, and let only this machine reach the host."],
        ),
        (
            &[("ENVIRONMENT", "prod")],
            &["ENVIRONMENT: `prod` is not an environment. Did you mean `production`?"],
        ),
        (
            &[("ENVIRONMENT", "qa")],
            &[
                "ENVIRONMENT: `qa` is not an environment. It is `development`, `test`, `staging` or `production`.",
            ],
        ),
        (
            &[("REQUIRE_AUTHENTICATION", "true"), ("JWT_SECRET_KEY", "hunter2")],
            &[
                "REQUIRE_AUTHENTICATION: this version has no accounts and no tokens yet, so it can't require them. \
               Unset it, and let only this machine reach the host.",
            ],
        ),
        (
            &[("REQUIRE_AUTHENTICATION", "maybe")],
            &["REQUIRE_AUTHENTICATION: `maybe` is neither true nor false. Set it to `true` or `false`."],
        ),
        (
            &[("CORS_ORIGINS", "http://localhost:3000")],
            &["CORS_ORIGINS: while authentication is off, pages of other origins are refused. \
               Unset it, and serve the page and the host from one origin."],
        ),
        (
            &[("DATABASE_URL", "postgres://me:hunter2@db/masque")],
            &[
                "DATABASE_URL: this version can't use Postgres yet; it keeps its state in SQLite, in the data folder. \
               Unset it.",
            ],
        ),
        (
            &[("DATABASE_URL", "sqlite:///x")],
            &["DATABASE_URL: the SQLite database is kept in the data folder and can't be elsewhere. \
               Unset it, and name the folder with --data, MASQUE_DATA or `folder` in [data]."],
        ),
        (
            &[("DATABASE_URL", "hunter2")],
            &["DATABASE_URL: this version keeps its state in SQLite, in the data folder. Unset it."],
        ),
        (
            &[("REDIS_ENABLED", "true"), ("REDIS_URL", "redis://:hunter2@r")],
            &["REDIS_ENABLED: this version can't use Redis yet. Unset it or set it to `false`."],
        ),
        (
            &[("REDIS_URL", "redis://:hunter2@r")],
            &["REDIS_URL: this version can't use Redis yet. Unset it, or set REDIS_ENABLED to `false`."],
        ),
        (
            &[("MASQUE_LISTEN", "everywhere")],
            &[
                "MASQUE_LISTEN: \"everywhere\" is not an address with a port. Write for example `127.0.0.1:8000`.",
            ],
        ),
        (
            &[("MASQUE_CONFIG", "none.toml")],
            &["MASQUE_CONFIG: there is no file none.toml. Name a configuration file that exists, or none."],
        ),
        (
            &[("ENVIRONMENT", "production"), ("DATABASE_URL", "hunter2"), ("MASQUE_LISTEN", "[::]:80")],
            &[
                "DATABASE_URL: this version keeps its state in SQLite, in the data folder. Unset it.",
                "ENVIRONMENT: `production` needs authentication, which this version does not have yet. \
                 Set it to `development` or `test`, and let only this machine reach the host.",
                "MASQUE_LISTEN: [::]:80 is reached from other machines, and this version can't tell who asks. \
                 Listen on 127.0.0.1 or [::1], behind a proxy that authenticates where others are to reach it.",
            ],
        ),
    ];
    for (variables, lines) in refused {
        let loaded = Folder::new().load(&Flags::default(), variables);
        assert!(loaded.is_err(), "{variables:?} was taken");
        assert_eq!(lines_of(loaded), *lines, "{variables:?}");
    }
}

#[test]
fn a_variable_that_changes_nothing_is_taken() {
    for variables in [
        &[("ENVIRONMENT", "development")][..],
        &[("ENVIRONMENT", "test"), ("REQUIRE_AUTHENTICATION", "false")],
        &[("REDIS_ENABLED", "false"), ("REDIS_URL", "redis://r")],
        &[("ENVIRONMENT", ""), ("DATABASE_URL", ""), ("CORS_ORIGINS", ""), ("MASQUE_LISTEN", "")],
        &[("MASQUE_SERVICE_HOST", "10.0.0.1"), ("MASQUE_PORT", "tcp://10.0.0.1:80")],
    ] {
        assert_eq!(lines_of(Folder::new().load(&Flags::default(), variables)), [""; 0], "{variables:?}");
    }
}

#[test]
fn a_key_without_tokens_and_a_mistyped_variable_are_warned_of() {
    let loaded =
        Folder::new().load(&Flags::default(), &[("JWT_SECRET_KEY", "hunter2"), ("MASQUE_LISTN", "x")]);
    assert!(loaded.is_ok());
    assert_eq!(
        lines_of(loaded),
        [
            "JWT_SECRET_KEY: warning: this version has no tokens yet, so no key is used and everyone who reaches the \
             host is one user. Unset it until authentication is on.",
            "MASQUE_LISTN: warning: the host knows no such variable. Did you mean MASQUE_LISTEN?",
        ]
    );
}

#[test]
fn a_file_that_is_no_configuration_is_refused() {
    let flags = Flags { config: Some("it.toml".into()), ..Flags::default() };
    let rows: [(Folder, &str); 4] = [
        (
            Folder::new(),
            "--config: there is no file it.toml. Name a configuration file that exists, or none.",
        ),
        (
            Folder::new()
                .with("it.toml", "[turn]\nwait = \"caf\u{e9}")
                .with("it.toml", b"[turn]\nwait = \"caf\xe9"),
            "it.toml:2:12: the file is not UTF-8 from here on. Save it as UTF-8.",
        ),
        (
            Folder::new().with("it.toml", vec![b'#'; 1024 * 1024 + 1]),
            "it.toml: the file is larger than 1 MiB. A configuration file is a few lines of TOML; is this another file?",
        ),
        (
            Folder::new().with("it.toml/x", ""),
            "--config: it.toml can't be read: Is a directory (os error 21). Make it a file that the host's user may read.",
        ),
    ];
    for (folder, line) in rows {
        assert_eq!(lines_of(folder.load(&flags, &[])), [line]);
    }
}

#[test]
fn mistakes_in_file_variables_and_flags_are_told_together() {
    let folder = Folder::new().with("masque.toml", "[turn]\nwait = 1\n");
    let flags = Flags { listen: Some("192.0.2.1:80".into()), ..Flags::default() };
    let lines = lines_of(folder.load(&flags, &[("CORS_ORIGINS", "*")]));
    let places: Vec<_> = lines.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["masque.toml:2:8", "CORS_ORIGINS", "--listen"]);
}
