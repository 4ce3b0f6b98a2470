//! The environment variables that the host knows. Some have the names that an earlier service used. A variable that asks
//! for something that this version can't do is refused: if it were ignored, the operator would believe that it is in
//! effect.

use std::collections::BTreeMap;
#[cfg(test)]
use std::collections::BTreeSet;
use std::ffi::OsString;
#[cfg(test)]
use std::sync::{Arc, Mutex};

use crate::database_url::scheme_of;
use crate::diagnostic::{Diagnostic, Location};
use crate::report::Report;
use crate::wording::nearest;

pub(crate) const CONFIG: &str = "MASQUE_CONFIG";
pub(crate) const LISTEN: &str = "MASQUE_LISTEN";
pub(crate) const DATA: &str = "MASQUE_DATA";

pub(crate) const DATABASE_URL: &str = "DATABASE_URL";
pub(crate) const DATABASE_DIRECT_URL: &str = "DATABASE_DIRECT_URL";

pub(crate) const REDIS_URL: &str = "REDIS_URL";
const REDIS_ENABLED: &str = "REDIS_ENABLED";
/// How the URL of a Redis or Valkey server can begin.
const REDIS_SCHEMES: [&str; 8] = [
    "redis",
    "rediss",
    "valkey",
    "valkeys",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
];

pub(crate) const STAGE: &str = "ENVIRONMENT";
pub(crate) const CORS_ORIGINS: &str = "CORS_ORIGINS";
pub(crate) const SECRET: &str = "JWT_SECRET_KEY";
pub(crate) const SECRET_FILE: &str = "JWT_SECRET_KEY_FILE";
pub(crate) const REQUIRE_AUTHENTICATION: &str = "REQUIRE_AUTHENTICATION";

/// The stage that `ENVIRONMENT` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Development,
    Test,
    Staging,
    Production,
}

impl Stage {
    const NAMES: [(&str, Self); 4] = [
        ("development", Self::Development),
        ("test", Self::Test),
        ("staging", Self::Staging),
        ("production", Self::Production),
    ];

    fn parse(text: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(name, _)| *name == text).map(|(_, stage)| stage)
    }

    /// The stage, or development if the variable is not set. [`check`] reports an unknown word.
    pub(crate) fn of(environment: &Environment) -> Self {
        environment.get(STAGE).and_then(Self::parse).unwrap_or(Self::Development)
    }

    /// The stage with the rules of production where they are asked for, whatever the variable says.
    pub(crate) fn with_rules_of_production(self, are_asked_for: bool) -> Self {
        if are_asked_for && !self.is_strict() { Self::Production } else { self }
    }

    /// Whether unsafe settings are errors. Staging has the rules of production.
    pub(crate) fn is_strict(self) -> bool {
        matches!(self, Self::Staging | Self::Production)
    }
}

/// Environment variables. An empty variable counts as not set: compose files and Helm charts write `NAME=` for a value that
/// was not given.
///
/// It has no `Debug`: variables hold secrets.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
    /// The names that were asked for, which the documents must list.
    #[cfg(test)]
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        Self::from_pairs(std::env::vars_os())
    }

    /// The variables in `pairs`.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        // A value that is not UTF-8 gets replacement characters, with which it is refused where it is used.
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let pairs = pairs.into_iter().map(|(name, value)| (text(name), text(value)));
        Self {
            values: pairs.filter(|(_, value)| !value.is_empty()).collect(),
            #[cfg(test)]
            asked: Arc::default(),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        #[cfg(test)]
        if let Ok(mut asked) = self.asked.lock() {
            asked.insert(name.to_owned());
        }
        self.values.get(name).map(String::as_str)
    }

    /// The names that were asked for so far.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().map(|asked| asked.clone()).unwrap_or_default()
    }
}

/// Reports variables that ask for something that this version can't do, and names that look mistyped. Quotes only values of
/// choices: the URLs of databases hold passwords.
pub(crate) fn check(environment: &Environment, report: &Report<'_>) {
    let refuse = |name: &str, what: &str, remedy: &str| {
        report.error(Location::Variable(name.to_owned()), what, remedy)
    };

    if let Some(other) = environment.get(STAGE).filter(|text| Stage::parse(text).is_none()) {
        let remedy = match nearest(other, Stage::NAMES.map(|(name, _)| name)) {
            Some(meant) => format!("Did you mean `{meant}`?"),
            None => "It is `development`, `test`, `staging` or `production`.".to_owned(),
        };
        refuse(STAGE, &format!("`{}` is not an environment", other.escape_debug()), &remedy);
    }
    let is_redis_asked_for = boolean(environment, REDIS_ENABLED, report) == Some(true);
    match environment.get(REDIS_URL).map(|url| url.trim().split_once("://").map_or("", |(scheme, _)| scheme))
    {
        None if is_redis_asked_for => refuse(
            REDIS_ENABLED,
            "REDIS_URL is not set, so there is no Redis to use",
            "Set REDIS_URL to the URL of a server, `redis://HOST`, or unset both.",
        ),
        // A URL that does not count is not judged.
        Some(_) if is_redis_off(environment) => {}
        Some(scheme) if !REDIS_SCHEMES.contains(&scheme) => refuse(
            REDIS_URL,
            "this is not the URL of a Redis server",
            "It begins with `redis://`, `rediss://` (TLS), `redis+sentinel://` or `redis+cluster://`. Unset it to use none.",
        ),
        _ => {}
    }
    check_database(environment, report);
    check_names(environment, report);
}

/// Reports variables that name a database which this version can't use. The URLs are not quoted: they hold passwords.
pub(crate) fn check_database(environment: &Environment, report: &Report<'_>) {
    let refuse = |name: &str, what: &str, remedy: &str| {
        report.error(Location::Variable(name.to_owned()), what, remedy)
    };
    for name in [DATABASE_URL, DATABASE_DIRECT_URL] {
        match environment.get(name).map(scheme_of) {
            Some("sqlite" | "file") => refuse(
                name,
                "the SQLite database is kept in the data folder and can't be elsewhere",
                "Unset it, and name the folder with --data, MASQUE_DATA or `folder` in [data].",
            ),
            Some("postgres" | "postgresql") | None => {}
            // The text is not quoted: it may be a password.
            Some(_) => refuse(
                name,
                "this is not the URL of a PostgreSQL database",
                "It begins with `postgres://`. Unset it to keep state in SQLite, in the data folder.",
            ),
        }
    }
    if environment.get(DATABASE_URL).is_none() && environment.get(DATABASE_DIRECT_URL).is_some() {
        refuse(
            DATABASE_DIRECT_URL,
            "DATABASE_URL is not set, so no database is used",
            "Set DATABASE_URL to the URL that the host uses, or unset both.",
        );
    }
}

/// Warns of variables whose names look mistyped.
pub(crate) fn check_names(environment: &Environment, report: &Report<'_>) {
    // Only similar names: Kubernetes adds variables such as MASQUE_SERVICE_HOST for a service called masque.
    let known = [CONFIG, LISTEN, DATA];
    for name in environment
        .values
        .keys()
        .filter(|name| name.starts_with("MASQUE_") && !known.contains(&name.as_str()))
    {
        let meant = known.into_iter().find(|known| strsim::damerau_levenshtein(name, known) <= 2);
        if let Some(meant) = meant {
            report.add(Diagnostic::warning(
                Location::Variable(name.clone()),
                "the host knows no such variable",
                format!("Did you mean {meant}?"),
            ));
        }
    }
}

/// The value of a variable that is true or false, if it is set. Another value is reported.
/// Whether `REDIS_ENABLED` says that `REDIS_URL` does not count.
pub(crate) fn is_redis_off(environment: &Environment) -> bool {
    environment.get(REDIS_ENABLED).and_then(parse_boolean) == Some(false)
}

pub(crate) fn boolean(environment: &Environment, name: &str, report: &Report<'_>) -> Option<bool> {
    let value = environment.get(name)?;
    let parsed = parse_boolean(value);
    if parsed.is_none() {
        let what = format!("`{}` is neither true nor false", value.escape_debug());
        report.error(Location::Variable(name.to_owned()), what, "Set it to `true` or `false`.");
    }
    parsed
}

fn parse_boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}
