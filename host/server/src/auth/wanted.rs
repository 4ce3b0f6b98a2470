//! An API key as someone asks for it, over HTTP or on the command line: checked here, for both.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use masque_store::NewApiKey;
use serde_json::{Value, json};

use super::DEFAULT_TENANT;
use super::key::KeyText;
use super::scope::{Scope, UnknownScope};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Characters of a name.
const NAME: usize = 100;
/// Companions that one key may name.
const COMPANIONS: usize = 100;
/// A century: past any plan, and short of every overflow.
const LONGEST_DAYS: u32 = 36_500;
/// How long a secret may outlive its rotation, and how long it does where nothing is said.
const LONGEST_OVERLAP: u32 = 720;
const OVERLAP: u32 = 24;

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) companions: Option<Vec<String>>,
    pub(crate) requests_per_minute: Option<u32>,
    pub(crate) tokens_per_day: Option<u64>,
    pub(crate) expires_in_days: Option<u32>,
}

/// Why no such key is made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwanted {
    /// What to change, in a sentence that names the field.
    #[error("{detail}")]
    Field { field: &'static str, detail: String },
    #[error("the machine has no random numbers: {0}")]
    NoRandom(#[from] getrandom::Error),
}

impl Wanted {
    /// The key's text and its record.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub(crate) fn key(self, created_by: String, now: SystemTime) -> Result<(KeyText, NewApiKey), Unwanted> {
        let Self { name, scopes, tenant, companions, requests_per_minute, tokens_per_day, expires_in_days } =
            self;
        let name = name.trim();
        if name.is_empty() || name.chars().count() > NAME || name.chars().any(char::is_control) {
            return wrong("name", format!("`name` is 1 to {NAME} characters, none of them a control."));
        }
        let tenant = tenant.unwrap_or_else(|| DEFAULT_TENANT.to_owned());
        if !masque_runtime::is_name(&tenant) {
            return wrong("tenant", "`tenant` is 1 to 64 of the characters a-z, 0-9 and -.".to_owned());
        }
        let scopes = checked(&scopes, &tenant)?;
        if let Some(names) = &companions
            && (names.is_empty()
                || names.len() > COMPANIONS
                || !names.iter().all(|name| masque_runtime::is_name(name)))
        {
            return wrong(
                "companions",
                format!("`companions` is a list of 1 to {COMPANIONS} names of companions."),
            );
        }
        if requests_per_minute == Some(0) {
            return wrong("requests_per_minute", "`requests_per_minute` is at least 1.".to_owned());
        }
        if tokens_per_day == Some(0) || tokens_per_day.is_some_and(|tokens| i64::try_from(tokens).is_err()) {
            return wrong("tokens_per_day", "`tokens_per_day` is at least 1, and less than 2^63.".to_owned());
        }
        if expires_in_days.is_some_and(|days| !(1..=LONGEST_DAYS).contains(&days)) {
            return wrong("expires_in_days", format!("`expires_in_days` is 1 to {LONGEST_DAYS}."));
        }
        let expires_at = expires_in_days.map(|days| {
            let end = now.duration_since(UNIX_EPOCH).unwrap_or_default() + DAY * days;
            i64::try_from(end.as_millis()).unwrap_or(i64::MAX)
        });
        let text = KeyText::of_new_id()?;
        let new = NewApiKey {
            id: text.id.clone(),
            tenant,
            name: name.to_owned(),
            hash: text.hash(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            companions,
            requests_per_minute,
            tokens_per_day,
            created_by,
            expires_at,
        };
        Ok((text, new))
    }
}

fn checked(words: &[String], tenant: &str) -> Result<Vec<Scope>, Unwanted> {
    let mut scopes = Vec::new();
    for word in words {
        let scope: Scope = match word.parse() {
            Ok(scope) => scope,
            Err(unknown @ UnknownScope) => {
                return wrong("scopes", format!("`{}` is no scope; {unknown}.", word.escape_debug()));
            }
        };
        if scope.rules_the_host() && tenant != DEFAULT_TENANT {
            let detail =
                format!("`{scope}` reaches over all tenants: only keys of `{DEFAULT_TENANT}` can have it.");
            return wrong("scopes", detail);
        }
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    if scopes.is_empty() {
        return wrong("scopes", "`scopes` names at least one; for conversations that is `chat`.".to_owned());
    }
    Ok(scopes)
}

/// How long the secret before a rotation stays good.
pub(crate) fn overlap(hours: Option<u32>) -> Result<Duration, Unwanted> {
    let hours = hours.unwrap_or(OVERLAP);
    if hours > LONGEST_OVERLAP {
        return wrong("overlap_hours", format!("`overlap_hours` is at most {LONGEST_OVERLAP}."));
    }
    Ok(Duration::from_secs(3600) * hours)
}

/// What the audit keeps of a new key.
pub(crate) fn detail(new: &NewApiKey) -> Value {
    json!({
        "name": new.name,
        "tenant": new.tenant,
        "scopes": new.scopes,
        "companions": new.companions,
        "requests_per_minute": new.requests_per_minute,
        "tokens_per_day": new.tokens_per_day,
        "expires_at": new.expires_at,
    })
}

fn wrong<T>(field: &'static str, detail: String) -> Result<T, Unwanted> {
    Err(Unwanted::Field { field, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted { name: "web shop".into(), scopes: vec!["chat".into()], ..Wanted::default() }
    }

    #[test]
    fn a_key_is_as_it_was_asked_for() {
        let now = UNIX_EPOCH + DAY;
        let asked = Wanted { expires_in_days: Some(2), requests_per_minute: Some(60), ..wanted() };
        let (text, new) = asked.key("machine".into(), now).unwrap();
        assert!(text.is(&new.hash) && text.id == new.id);
        assert_eq!((new.tenant.as_str(), new.expires_at), ("default", Some(3 * 24 * 3_600_000)));
        assert_eq!((new.scopes, new.requests_per_minute), (vec!["chat".to_owned()], Some(60)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("name", Wanted { name: " ".into(), ..wanted() }),
            ("name", Wanted { name: "a\nb".into(), ..wanted() }),
            ("name", Wanted { name: "x".repeat(101), ..wanted() }),
            ("scopes", Wanted { scopes: Vec::new(), ..wanted() }),
            ("scopes", Wanted { scopes: vec!["root".into()], ..wanted() }),
            ("tenant", Wanted { tenant: Some("A".into()), ..wanted() }),
            ("scopes", Wanted { scopes: vec!["admin:read".into()], tenant: Some("acme".into()), ..wanted() }),
            ("companions", Wanted { companions: Some(Vec::new()), ..wanted() }),
            ("companions", Wanted { companions: Some(vec!["a b".into()]), ..wanted() }),
            ("requests_per_minute", Wanted { requests_per_minute: Some(0), ..wanted() }),
            ("tokens_per_day", Wanted { tokens_per_day: Some(0), ..wanted() }),
            ("tokens_per_day", Wanted { tokens_per_day: Some(u64::MAX), ..wanted() }),
            ("expires_in_days", Wanted { expires_in_days: Some(0), ..wanted() }),
        ];
        for (expected, asked) in cases {
            match asked.clone().key("machine".into(), UNIX_EPOCH) {
                Err(Unwanted::Field { field, detail }) => {
                    assert_eq!(field, expected, "{asked:?}");
                    assert!(detail.contains(field) || field == "scopes", "{detail}");
                }
                other => panic!("{asked:?}: {other:?}"),
            }
        }
    }
}
