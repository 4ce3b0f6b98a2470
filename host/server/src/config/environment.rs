//! The variables that the host knows. Those of the earlier service keep their names; one that asks for what this version
//! can't do is refused, for a host that ignored it would be taken for safer than it is.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::problem::{Place, Problem};
use super::report::{Report, nearest};

pub(super) const CONFIG: &str = "MASQUE_CONFIG";
pub(super) const LISTEN: &str = "MASQUE_LISTEN";
pub(super) const DATA: &str = "MASQUE_DATA";

pub(super) const STAGE: &str = "ENVIRONMENT";

/// What a host is for, as `ENVIRONMENT` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
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

    fn named(text: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(name, _)| *name == text).map(|(_, stage)| stage)
    }

    /// Development where nothing is set; a word that is none is reported by [`check`].
    pub(super) fn of(environment: &Environment) -> Self {
        environment.get(STAGE).and_then(Self::named).unwrap_or(Self::Development)
    }

    /// Whether the host has to be safe: staging obeys production's rules.
    pub(super) fn is_strict(self) -> bool {
        matches!(self, Self::Staging | Self::Production)
    }
}

/// All variables. One that is empty counts as not set: compose files and charts write
/// `NAME=` for a value that was not given.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// That of this process.
    pub(crate) fn of_process() -> Self {
        Self::from_pairs(std::env::vars_os())
    }

    pub(crate) fn from_pairs(pairs: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        // What is not text can't be right either; replacement characters make it be refused where it matters.
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let pairs = pairs.into_iter().map(|(name, value)| (text(name), text(value)));
        Self(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Reports what the earlier service's variables ask for and this version can't do, and names that look mistyped.
/// Quotes no value but those of choices: addresses of databases hold passwords.
pub(super) fn check(environment: &Environment, report: &Report<'_>) {
    let refuse =
        |name: &str, what: &str, remedy: &str| report.error(Place::Variable(name.to_owned()), what, remedy);

    if let Some(other) = environment.get(STAGE).filter(|text| Stage::named(text).is_none()) {
        let remedy = match nearest(other, Stage::NAMES.map(|(name, _)| name)) {
            Some(meant) => format!("Did you mean `{meant}`?"),
            None => "It is `development`, `test`, `staging` or `production`.".to_owned(),
        };
        refuse(STAGE, &format!("`{}` is not an environment", other.escape_debug()), &remedy);
    }
    for name in ["DATABASE_URL", "DATABASE_DIRECT_URL"] {
        match environment.get(name).map(|url| url.split(':').next().unwrap_or_default()) {
            None => {}
            Some("sqlite" | "file") => refuse(
                name,
                "the SQLite database is kept in the data folder and can't be elsewhere",
                "Unset it, and name the folder with --data, MASQUE_DATA or `folder` in [data].",
            ),
            Some("postgres" | "postgresql") => refuse(
                name,
                "this version can't use Postgres yet; it keeps its state in SQLite, in the data folder",
                "Unset it.",
            ),
            Some(_) => {
                refuse(name, "this version keeps its state in SQLite, in the data folder", "Unset it.")
            }
        }
    }
    match (choice(environment, "REDIS_ENABLED", report), environment.get("REDIS_URL")) {
        (Some(true), _) => {
            refuse("REDIS_ENABLED", "this version can't use Redis yet", "Unset it or set it to `false`.");
        }
        (None, Some(_)) => {
            refuse(
                "REDIS_URL",
                "this version can't use Redis yet",
                "Unset it, or set REDIS_ENABLED to `false`.",
            );
        }
        _ => {}
    }
    // Only near misses: an orchestrator adds variables such as MASQUE_SERVICE_HOST for a service of that name.
    let known = [CONFIG, LISTEN, DATA];
    for name in
        environment.0.keys().filter(|name| name.starts_with("MASQUE_") && !known.contains(&name.as_str()))
    {
        let meant = known.into_iter().find(|known| strsim::damerau_levenshtein(name, known) <= 2);
        if let Some(meant) = meant {
            report.add(Problem::warning(
                Place::Variable(name.clone()),
                "the host knows no such variable",
                format!("Did you mean {meant}?"),
            ));
        }
    }
}

/// What a variable that is true or false says; anything else is reported.
pub(super) fn choice(environment: &Environment, name: &str, report: &Report<'_>) -> Option<bool> {
    let value = environment.get(name)?;
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => {
            let what = format!("`{}` is neither true nor false", value.escape_debug());
            report.error(Place::Variable(name.to_owned()), what, "Set it to `true` or `false`.");
            None
        }
    }
}
