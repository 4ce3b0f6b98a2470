//! What is unsafe about the way to a database. It works all the same, so these are warnings.

use std::net::IpAddr;

use sqlx::postgres::PgSslMode;

use crate::options::PostgresOptions;

/// The shortest password that is not warned of.
const MIN_PASSWORD: usize = 16;

/// Passwords that are in the documentation of this and of other programs.
const DEFAULTS: &[&str] = &[
    "admin",
    "changeme",
    "change-me",
    "default",
    "example",
    "masque",
    "password",
    "postgres",
    "postgresql",
    "root",
    "secret",
    "test",
];

/// Something unsafe about the way to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionWarning {
    /// The password is one that everybody knows.
    #[error("the password of the database is a well-known one; set one of 16 random characters or more")]
    DefaultPassword,
    /// The password is the name of the user.
    #[error("the password of the database is the name of its user; set one of 16 random characters or more")]
    PasswordIsUser,
    /// The password has few characters.
    #[error("the password of the database has fewer than 16 characters; set a longer one")]
    ShortPassword,
    /// The connection leaves the machine and the server's certificate is not checked.
    #[error(
        "the connection to the database leaves this machine without a check of the server's certificate; add \
         `?sslmode=verify-full` to its URL"
    )]
    UnverifiedTls,
}

/// What is unsafe about the way to this database.
pub fn connection_warnings(options: &PostgresOptions) -> Vec<ConnectionWarning> {
    let connect = &options.connect;
    let mut warnings = Vec::new();
    if let Some(password) = &options.password {
        warnings.extend(judge_password(password, connect.get_username()));
    }
    let is_local = connect.get_socket().is_some() || is_loopback(connect.get_host());
    let is_verified = matches!(connect.get_ssl_mode(), PgSslMode::VerifyFull | PgSslMode::VerifyCa);
    if !is_local && !is_verified {
        warnings.push(ConnectionWarning::UnverifiedTls);
    }
    warnings
}

fn judge_password(password: &str, user: &str) -> Option<ConnectionWarning> {
    if password == user {
        Some(ConnectionWarning::PasswordIsUser)
    } else if DEFAULTS.iter().any(|known| password.eq_ignore_ascii_case(known)) {
        Some(ConnectionWarning::DefaultPassword)
    } else if password.chars().count() < MIN_PASSWORD {
        Some(ConnectionWarning::ShortPassword)
    } else {
        None
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::ConnectionWarning::{DefaultPassword, PasswordIsUser, ShortPassword, UnverifiedTls};
    use super::{ConnectionWarning, connection_warnings};
    use crate::options::PostgresOptions;

    #[test]
    fn weak_passwords_and_unverified_tls_are_warned_of() {
        let cases: [(&str, &[ConnectionWarning]); 9] = [
            ("ada:0123456789abcdef@localhost/m", &[]),
            ("ada:0123456789abcde@127.0.0.1/m", &[ShortPassword]),
            ("ada:ada@[::1]/m", &[PasswordIsUser]),
            ("ada:Postgres@localhost/m", &[DefaultPassword]),
            ("ada@localhost/m", &[]),
            ("ada:0123456789abcdef@db.example/m", &[UnverifiedTls]),
            ("ada:0123456789abcdef@db.example/m?sslmode=require", &[UnverifiedTls]),
            ("ada:0123456789abcdef@db.example/m?sslmode=verify-full", &[]),
            ("ada:secret@10.0.0.1/m", &[DefaultPassword, UnverifiedTls]),
        ];
        for (rest, expected) in cases {
            let options = PostgresOptions::from_url(&format!("postgresql://{rest}")).unwrap();
            assert_eq!(connection_warnings(&options), expected, "{rest}");
        }
    }
}
