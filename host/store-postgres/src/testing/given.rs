//! The server that `MASQUE_TEST_DATABASE_URL` names, for the tests that need no server of their own. CI runs them against the
//! oldest and the newest PostgreSQL that the host supports.
#![allow(clippy::panic, reason = "this module is only used by tests: it fails by panicking")]

use std::sync::OnceLock;

use uuid::Uuid;

/// The port of the server that is given; `None` if there is none.
///
/// # Panics
/// If the variable is not of the form that [`parse`] reads.
pub(super) fn port() -> Option<u16> {
    let url = std::env::var("MASQUE_TEST_DATABASE_URL").ok().filter(|url| !url.is_empty())?;
    match parse(&url) {
        Some(port) => Some(port),
        None => panic!(
            "MASQUE_TEST_DATABASE_URL is not of the form postgresql://postgres@127.0.0.1:PORT/postgres"
        ),
    }
}

/// The port in a URL of the form `postgresql://postgres@127.0.0.1:PORT/postgres`. Tests make users and databases, so a server
/// that may hold anything else must not be taken by mistake: it is on this machine, and its superuser has no password.
fn parse(url: &str) -> Option<u16> {
    let rest = url.strip_prefix("postgresql://postgres@127.0.0.1:")?;
    rest.strip_suffix("/postgres")?.parse().ok()
}

/// The name of a database with this ending that no other test process has on the server.
pub(super) fn database_name(ending: &str) -> String {
    static PREFIX: OnceLock<String> = OnceLock::new();
    let prefix = PREFIX.get_or_init(|| Uuid::now_v7().simple().to_string());
    format!("test_{prefix}_{ending}")
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_a_server_of_this_machine_without_a_password_is_taken_for_tests() {
        for (url, port) in [
            ("postgresql://postgres@127.0.0.1:5432/postgres", Some(5432)),
            ("postgresql://postgres@db.example.com:5432/postgres", None),
            ("postgresql://postgres:hunter2@127.0.0.1:5432/postgres", None),
            ("postgresql://postgres@127.0.0.1:5432/masque", None),
            ("postgresql://postgres@127.0.0.1/postgres", None),
        ] {
            assert_eq!(parse(url), port, "{url}");
        }
    }
}
