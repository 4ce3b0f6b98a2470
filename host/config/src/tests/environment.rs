//! Mistakes outside the lines of the file: the file itself, variables, flags.

use super::{Folder, lines_of};
use crate::Flags;

type Variables = &'static [(&'static str, &'static str)];

#[test]
fn a_variable_that_asks_for_an_unsupported_feature_is_refused() {
    let cases: &[(Variables, &[&str])] = &[
        (
            &[("ENVIRONMENT", "production")],
            &[
                "ENVIRONMENT: there is no [tls], and no proxy that could speak TLS is declared. Set certificate and key in [tls], or name the proxy in `trusted_proxies` of [server].",
                "ENVIRONMENT: the admin API is on the public listener. Set `listen` in [admin], or allow this with `shared = true` in [admin].",
            ],
        ),
        (
            &[("ENVIRONMENT", "staging"), ("REQUIRE_AUTHENTICATION", "false"), ("JWT_SECRET_KEY", "hunter2")],
            &[
                "ENVIRONMENT: there is no [tls], and no proxy that could speak TLS is declared. Set certificate and key in [tls], or name the proxy in `trusted_proxies` of [server].",
                "ENVIRONMENT: the admin API is on the public listener. Set `listen` in [admin], or allow this with `shared = true` in [admin].",
                "JWT_SECRET_KEY: the secret has 7 bytes, and 32 are the least. Make one with `openssl rand -base64 32`.",
                "REQUIRE_AUTHENTICATION: authentication is off, so whoever reaches the host is its one user. Turn it on: remove this setting, and set JWT_SECRET_KEY or [auth.issuers.NAME].",
            ],
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
            &[("REQUIRE_AUTHENTICATION", "maybe")],
            &["REQUIRE_AUTHENTICATION: `maybe` is neither true nor false. Set it to `true` or `false`."],
        ),
        (
            &[("CORS_ORIGINS", "http://localhost:3000")],
            &["CORS_ORIGINS: while authentication is off, pages of other origins are refused. \
               Unset it, and serve the page and the host from one origin."],
        ),
        (
            &[("DATABASE_URL", "sqlite:///x")],
            &["DATABASE_URL: the SQLite database is kept in the data folder and can't be elsewhere. \
               Unset it, and name the folder with --data, MASQUE_DATA or `folder` in [data]."],
        ),
        (
            &[("DATABASE_URL", "hunter2")],
            &["DATABASE_URL: this is not the URL of a PostgreSQL database. It begins with `postgres://`. \
               Unset it to keep state in SQLite, in the data folder."],
        ),
        (
            &[("DATABASE_DIRECT_URL", "postgres://me:hunter2@db/masque")],
            &["DATABASE_DIRECT_URL: DATABASE_URL is not set, so no database is used. \
               Set DATABASE_URL to the URL that the host uses, or unset both."],
        ),
        (
            &[("REDIS_ENABLED", "true")],
            &["REDIS_ENABLED: REDIS_URL is not set, so there is no Redis to use. \
               Set REDIS_URL to the URL of a server, `redis://HOST`, or unset both."],
        ),
        (
            &[("REDIS_URL", "http://:hunter2@r")],
            &[
                "REDIS_URL: this is not the URL of a Redis server. It begins with `redis://`, `rediss://` (TLS), \
               `redis+sentinel://` or `redis+cluster://`. Unset it to use none.",
            ],
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
            &[("ENVIRONMENT", "test"), ("DATABASE_URL", "hunter2"), ("MASQUE_LISTEN", "[::]:80")],
            &[
                "DATABASE_URL: this is not the URL of a PostgreSQL database. It begins with `postgres://`. \
               Unset it to keep state in SQLite, in the data folder.",
                "MASQUE_LISTEN: [::]:80 is reached from other machines, and authentication is off. \
                 Listen on 127.0.0.1 or [::1], or turn authentication on: set JWT_SECRET_KEY, or [auth.issuers.NAME].",
            ],
        ),
    ];
    for (variables, lines) in cases {
        let loaded = Folder::new().load(&Flags::default(), variables);
        assert!(loaded.is_err(), "{variables:?} was taken");
        assert_eq!(lines_of(loaded), *lines, "{variables:?}");
    }
}

#[test]
fn a_variable_that_changes_nothing_is_accepted() {
    for variables in [
        &[("ENVIRONMENT", "development")][..],
        &[("ENVIRONMENT", "test"), ("REQUIRE_AUTHENTICATION", "false")],
        &[("REDIS_ENABLED", "false"), ("REDIS_URL", "anything")],
        &[("REDIS_URL", "redis://:hunter2@r")],
        &[("REDIS_ENABLED", "on"), ("REDIS_URL", " rediss+sentinel://a,b/main ")],
        &[("DATABASE_URL", "postgres://me:hunter2@db/masque")],
        &[
            ("DATABASE_URL", "postgresql+asyncpg://me:hunter2@db/masque"),
            ("DATABASE_DIRECT_URL", "postgres://db/masque"),
        ],
        &[("ENVIRONMENT", ""), ("DATABASE_URL", ""), ("CORS_ORIGINS", ""), ("MASQUE_LISTEN", "")],
        &[("MASQUE_SERVICE_HOST", "10.0.0.1"), ("MASQUE_PORT", "tcp://10.0.0.1:80")],
    ] {
        assert_eq!(lines_of(Folder::new().load(&Flags::default(), variables)), [""; 0], "{variables:?}");
    }
}

#[test]
fn a_short_secret_and_a_mistyped_variable_cause_warnings() {
    let loaded =
        Folder::new().load(&Flags::default(), &[("JWT_SECRET_KEY", "hunter2"), ("MASQUE_LISTN", "x")]);
    assert!(loaded.is_ok());
    assert_eq!(
        lines_of(loaded),
        [
            "JWT_SECRET_KEY: warning: the secret has 7 bytes, and 32 are the least. Make one with \
             `openssl rand -base64 32`.",
            "MASQUE_LISTN: warning: the host knows no such variable. Did you mean MASQUE_LISTEN?",
        ]
    );
}

#[test]
fn a_file_that_can_not_be_read_is_refused() {
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
fn mistakes_in_file_variables_and_flags_are_reported_together() {
    let folder = Folder::new().with("masque.toml", "[turn]\nwait = 1\n");
    let flags = Flags { listen: Some("192.0.2.1:80".into()), ..Flags::default() };
    let lines = lines_of(folder.load(&flags, &[("CORS_ORIGINS", "*")]));
    let locations: Vec<_> = lines.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(locations, ["masque.toml:2:8", "CORS_ORIGINS", "--listen"]);
}

#[test]
fn the_flag_production_finds_what_the_variable_finds() {
    let production = Flags { production: true, ..Flags::default() };
    let variables: &[Variables] = &[
        &[],
        &[("JWT_SECRET_KEY", "hunter2")],
        &[("REQUIRE_AUTHENTICATION", "false"), ("CORS_ORIGINS", "*")],
    ];
    for &variables in variables {
        let with_variable = [variables, &[("ENVIRONMENT", "production")][..]].concat();
        let by_variable = lines_of(Folder::new().load(&Flags::default(), &with_variable));
        let by_flag = lines_of(Folder::new().load(&production, variables));
        let without_place = |lines: Vec<String>, place: &str| {
            let mut lines: Vec<String> =
                lines.iter().map(|line| line.strip_prefix(place).unwrap_or(line).to_owned()).collect();
            lines.sort();
            lines
        };
        assert!(!by_flag.is_empty(), "{variables:?}");
        assert_eq!(
            without_place(by_flag, "--production"),
            without_place(by_variable, "ENVIRONMENT"),
            "{variables:?}"
        );
    }
}
