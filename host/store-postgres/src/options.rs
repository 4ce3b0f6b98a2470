//! How to reach a database, and how much of it a host uses.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use masque_files::read_password;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use crate::open_error::PostgresOpenError;

/// The parameters of a URL that sqlx knows (`PgConnectOptions::parse_from_url`), besides those that begin with `options[`.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// How to reach a database, and how much of it a host uses. Its `Debug` output shows no password.
#[derive(Clone)]
pub struct PostgresOptions {
    pub(crate) connect: PgConnectOptions,
    /// The most connections that are open at the same time. Ten serve several hundred turns a second; all hosts together
    /// have to stay below the server's `max_connections`.
    pub max_connections: u32,
    /// How long an operation waits for a connection, opening one included.
    pub acquire_timeout: Duration,
    /// How long an operation waits for the answer to its statement. The connection is dropped then, and the outcome of a
    /// write is unknown.
    pub statement_timeout: Duration,
}

impl PostgresOptions {
    /// From a URL as `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full`. The drivers that other programs
    /// name in the scheme, as in `postgresql+asyncpg://`, are ignored. What the URL leaves out comes from the variables that
    /// `psql` reads, such as `PGHOST`.
    ///
    /// # Errors
    /// [`PostgresOpenError::Url`] if it is no URL of PostgreSQL, or leaves the port or TLS to a variable with a wrong value.
    pub fn from_url(text: &str) -> Result<Self, PostgresOpenError> {
        let refuse = |reason: &str| PostgresOpenError::Url { reason: reason.to_owned() };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refuse("it has no scheme"))?;
        let kind = scheme.split_once('+').map_or(scheme, |(kind, _driver)| kind);
        if !matches!(kind, "postgres" | "postgresql") {
            // A URL without a scheme can have anything before `://`.
            return Err(refuse(&match is_name(scheme) {
                true => format!("its scheme is `{scheme}`"),
                false => "it has no scheme".to_owned(),
            }));
        }
        let mut url =
            Url::parse(&format!("postgresql://{rest}")).map_err(|error| refuse(&error.to_string()))?;
        name_ssl_mode(&mut url);
        for name in leave_out_unknown(&mut url) {
            let name = if is_name(&name) { name.as_str() } else { "(no name)" };
            tracing::warn!(
                name,
                "the URL of the database has a parameter that is not known; it has no effect"
            );
        }
        if let Some(reason) = wrong_variable(&url, |name| std::env::var(name).ok()) {
            return Err(refuse(reason));
        }
        // The error of sqlx may quote the URL, and with it the password.
        let connect = PgConnectOptions::from_str(url.as_str())
            .map_err(|_| refuse("a part of it has a value that PostgreSQL does not know"))?
            .application_name("masque")
            // Poolers refuse a connection that asks for this setting; no column holds a floating-point number.
            .extra_float_digits(None);
        Ok(Self {
            connect,
            max_connections: 10,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
        })
    }

    /// With this password instead of that of the URL.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.connect = self.connect.password(password);
        self
    }

    /// With the password in a file, without the line break at its end.
    ///
    /// # Errors
    /// [`PostgresOpenError::PasswordFile`] if the file can't be read, is no text, or may be written by every user.
    pub fn with_password_file(self, path: &Path) -> Result<Self, PostgresOpenError> {
        let password = read_password(path)
            .map_err(|reason| PostgresOpenError::PasswordFile { path: path.to_owned(), reason })?;
        Ok(self.with_password(&password))
    }

    /// The host, port and database, for people to read.
    #[must_use]
    pub fn target(&self) -> String {
        let host = match self.connect.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => self.connect.get_host().to_owned(),
        };
        format!("{host}:{}/{}", self.connect.get_port(), self.database())
    }

    /// The name of the database: that of the user if none is given.
    pub(crate) fn database(&self) -> &str {
        self.connect.get_database().unwrap_or_else(|| self.connect.get_username())
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PostgresOptions")
            .field("target", &self.target())
            .field("user", &self.connect.get_username())
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

/// asyncpg's `ssl=MODE` means what libpq calls `sslmode`.
fn name_ssl_mode(url: &mut Url) {
    if !url.query_pairs().any(|(key, _)| key == "ssl") {
        return;
    }
    let pairs: Vec<(String, String)> = url
        .query_pairs()
        .map(|(key, value)| match (&*key, &*value) {
            ("ssl", "true") => ("sslmode".to_owned(), "require".to_owned()),
            ("ssl", "false") => ("sslmode".to_owned(), "disable".to_owned()),
            ("ssl", mode) => ("sslmode".to_owned(), mode.to_owned()),
            (key, value) => (key.to_owned(), value.to_owned()),
        })
        .collect();
    url.query_pairs_mut().clear().extend_pairs(pairs);
}

/// What is wrong with the variables of `psql` to which the URL leaves the port and TLS. sqlx takes its default in place of a value
/// that it can't read: the password would go to another server, or in the clear.
fn wrong_variable(url: &Url, value_of: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let is_named = |names: &[&str]| url.query_pairs().any(|(key, _)| names.contains(&&*key));
    let value_of = |name| value_of(name).filter(|value| !value.is_empty());
    let has_port = url.port().is_some() || is_named(&["port"]);
    let is_port = |text: String| text.parse::<u16>().is_ok_and(|port| port > 0);
    if !has_port && value_of("PGPORT").is_some_and(|port| !is_port(port)) {
        return Some("it names no port, and PGPORT is no number from 1 to 65535");
    }
    let is_mode = |text: String| text.parse::<PgSslMode>().is_ok();
    if !is_named(&["sslmode", "ssl-mode"]) && value_of("PGSSLMODE").is_some_and(|mode| !is_mode(mode)) {
        return Some("it names no `sslmode`, and PGSSLMODE is none that PostgreSQL knows");
    }
    None
}

/// Removes the parameters that sqlx does not know, and returns their names. It would log them with their values, and one that is
/// misspelt can be a password.
fn leave_out_unknown(url: &mut Url) -> Vec<String> {
    let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    let (known, unknown): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| is_known(name));
    if !unknown.is_empty() {
        url.query_pairs_mut().clear().extend_pairs(known);
    }
    unknown.into_iter().map(|(name, _)| name).collect()
}

/// Whether a text is a name and no secret that stands in its place.
fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-+.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgSslMode;
    use url::Url;

    use super::{PostgresOptions, leave_out_unknown, wrong_variable};

    #[test]
    fn a_driver_in_the_scheme_is_ignored_and_another_database_is_refused() {
        for url in [
            "postgres://ada:secret@db.example:5433/masque",
            "postgresql://ada:secret@db.example:5433/masque",
            "postgresql+asyncpg://ada:secret@db.example:5433/masque",
            "postgresql+psycopg2://ada:secret@db.example:5433/masque",
        ] {
            let options = PostgresOptions::from_url(url).unwrap();
            assert_eq!(options.target(), "db.example:5433/masque", "{url}");
        }
        for url in ["mysql://ada@db/masque", "sqlite:masque.db", "masque", "http+postgres://x/y", ""] {
            assert!(PostgresOptions::from_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn no_output_shows_the_password() {
        let options = PostgresOptions::from_url("postgresql://ada:hunter2@db/masque").unwrap();
        assert!(!format!("{options:?}").contains("hunter2"));
        let error = PostgresOptions::from_url("postgresql://ada:hunter2@db:port/masque").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let error = PostgresOptions::from_url("postgresql://ada:hunter2@db/masque?sslmode=odd").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_parameter_that_is_not_known_is_named_and_its_value_is_shown_to_nobody() {
        let text = "postgresql://ada@db/masque?passwort=hunter2&sslmode=require&options[a]=b%20c&sslpassword=hunter2";
        let mut url = Url::parse(text).unwrap();
        assert_eq!(leave_out_unknown(&mut url), ["passwort", "sslpassword"]);
        assert!(!url.as_str().contains("hunter2"), "{url}");
        let left: Vec<_> = url.query_pairs().into_owned().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(left, [pair("sslmode", "require"), pair("options[a]", "b c")]);
        assert_eq!(leave_out_unknown(&mut url), [""; 0]);
        let error = PostgresOptions::from_url("ada:hunter2@db/masque?url=://").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_variable_with_a_wrong_value_is_refused_where_the_url_leaves_the_choice_to_it() {
        for (url, name, value, part) in [
            ("postgresql://ada@db/masque", "PGPORT", "5433", None),
            ("postgresql://ada@db/masque", "PGPORT", "", None),
            ("postgresql://ada@db/masque", "PGPORT", "99999", Some("PGPORT")),
            ("postgresql://ada@db/masque", "PGPORT", "0", Some("PGPORT")),
            ("postgresql://ada@db/masque", "PGPORT", "54x", Some("PGPORT")),
            ("postgresql://ada@db:5432/masque", "PGPORT", "99999", None),
            ("postgresql://ada@db/masque?port=5432", "PGPORT", "99999", None),
            ("postgresql://ada@db/masque", "PGSSLMODE", "verify-full", None),
            ("postgresql://ada@db/masque", "PGSSLMODE", "verify_full", Some("PGSSLMODE")),
            ("postgresql://ada@db/masque?sslmode=require", "PGSSLMODE", "verify_full", None),
        ] {
            let found =
                wrong_variable(&Url::parse(url).unwrap(), |asked| (asked == name).then(|| value.to_owned()));
            assert_eq!(found.is_some(), part.is_some(), "{url} {name}={value}");
            assert!(found.unwrap_or_default().contains(part.unwrap_or_default()), "{found:?}");
        }
    }

    #[test]
    fn the_tls_mode_of_asyncpg_is_understood() {
        let options = PostgresOptions::from_url("postgresql://ada:a%2Fb+c@db/masque?ssl=require").unwrap();
        assert!(matches!(options.connect.get_ssl_mode(), PgSslMode::Require));
    }
}
