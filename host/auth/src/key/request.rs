//! A new API key as someone asks for it, over HTTP or on the command line, checked the same way for both.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use masque_store::NewApiKey;
use serde_json::{Value, json};

use super::text::KeyText;
use crate::owner::{DEFAULT_TENANT, is_name};
use crate::scope::{Scope, UnknownScope};

const DAY: Duration = Duration::from_secs(24 * 3600);
const MAX_NAME_CHARS: usize = 100;
const MAX_COMPANIONS: usize = 100;
/// A century: longer than any plan, and short enough that no sum with a date overflows.
const MAX_DAYS: u32 = 36_500;
/// How long the old secret is accepted after a rotation, in hours.
const MAX_OVERLAP_HOURS: u32 = 720;
const DEFAULT_OVERLAP_HOURS: u32 = 24;

/// A key to make, before any of it is checked.
#[derive(Clone, Debug, Default)]
pub struct NewKeyRequest {
    /// What the key is for, as a note for people.
    pub name: String,
    /// The words of its scopes.
    pub scopes: Vec<String>,
    /// Its tenant; `None` for [`DEFAULT_TENANT`].
    pub tenant: Option<String>,
    /// The companions that it may talk to; `None` for all.
    pub companions: Option<Vec<String>>,
    /// How often it may ask; `None` for any number.
    pub requests_per_minute: Option<u32>,
    /// The model's tokens that it may use in a day; `None` for any number.
    pub tokens_per_day: Option<u64>,
    /// When it ends; `None` for never.
    pub expires_in_days: Option<u32>,
}

/// Why a key is not made or not rotated.
#[derive(Debug, thiserror::Error)]
pub enum KeyRequestError {
    /// One field has a value that is not allowed.
    #[error("{detail}")]
    InvalidField {
        /// The name of the field.
        field: &'static str,
        /// A sentence that names the field and says what is allowed.
        detail: String,
    },
    /// The operating system has no random numbers.
    #[error("the machine has no random numbers: {0}")]
    NoRandomness(#[from] getrandom::Error),
}

impl NewKeyRequest {
    /// Checks the request and makes the key: its text, to be shown once, and the record to store.
    ///
    /// # Errors
    /// [`KeyRequestError::InvalidField`] for the first field that is wrong, [`KeyRequestError::NoRandomness`].
    pub fn issue(self, created_by: String, now: SystemTime) -> Result<(KeyText, NewApiKey), KeyRequestError> {
        let Self { name, scopes, tenant, companions, requests_per_minute, tokens_per_day, expires_in_days } =
            self;
        let name = name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
            let detail = format!("`name` is 1 to {MAX_NAME_CHARS} characters, none of them a control.");
            return invalid("name", detail);
        }
        let tenant = tenant.unwrap_or_else(|| DEFAULT_TENANT.to_owned());
        if !is_name(&tenant) {
            return invalid("tenant", "`tenant` is 1 to 64 of the characters a-z, 0-9 and -.".to_owned());
        }
        let scopes = check_scopes(&scopes, &tenant)?;
        if let Some(names) = &companions
            && (names.is_empty() || names.len() > MAX_COMPANIONS || !names.iter().all(|name| is_name(name)))
        {
            let detail = format!("`companions` is a list of 1 to {MAX_COMPANIONS} names of companions.");
            return invalid("companions", detail);
        }
        if requests_per_minute == Some(0) {
            return invalid("requests_per_minute", "`requests_per_minute` is at least 1.".to_owned());
        }
        if tokens_per_day == Some(0) || tokens_per_day.is_some_and(|tokens| i64::try_from(tokens).is_err()) {
            let detail = "`tokens_per_day` is at least 1, and less than 2^63.".to_owned();
            return invalid("tokens_per_day", detail);
        }
        if expires_in_days.is_some_and(|days| !(1..=MAX_DAYS).contains(&days)) {
            return invalid("expires_in_days", format!("`expires_in_days` is 1 to {MAX_DAYS}."));
        }
        let expires_at = expires_in_days.map(|days| {
            let end = now.duration_since(UNIX_EPOCH).unwrap_or_default() + DAY * days;
            i64::try_from(end.as_millis()).unwrap_or(i64::MAX)
        });
        let text = KeyText::generate()?;
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

fn check_scopes(words: &[String], tenant: &str) -> Result<Vec<Scope>, KeyRequestError> {
    let mut scopes = Vec::new();
    for word in words {
        let scope: Scope = match word.parse() {
            Ok(scope) => scope,
            Err(unknown @ UnknownScope) => {
                return invalid("scopes", format!("`{}` is no scope; {unknown}.", word.escape_debug()));
            }
        };
        if scope.spans_tenants() && tenant != DEFAULT_TENANT {
            let detail =
                format!("`{scope}` reaches over all tenants: only keys of `{DEFAULT_TENANT}` can have it.");
            return invalid("scopes", detail);
        }
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    if scopes.is_empty() {
        let detail = "`scopes` names at least one; for conversations that is `chat`.".to_owned();
        return invalid("scopes", detail);
    }
    Ok(scopes)
}

/// How long the old secret is accepted after a rotation; 24 hours if `hours` is `None`.
///
/// # Errors
/// [`KeyRequestError::InvalidField`] if it is more than 30 days.
pub fn rotation_overlap(hours: Option<u32>) -> Result<Duration, KeyRequestError> {
    let hours = hours.unwrap_or(DEFAULT_OVERLAP_HOURS);
    if hours > MAX_OVERLAP_HOURS {
        return invalid("overlap_hours", format!("`overlap_hours` is at most {MAX_OVERLAP_HOURS}."));
    }
    Ok(Duration::from_secs(3600) * hours)
}

/// What the audit log records of a new key. Contains nothing secret.
pub fn audit_detail(new: &NewApiKey) -> Value {
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

fn invalid<T>(field: &'static str, detail: String) -> Result<T, KeyRequestError> {
    Err(KeyRequestError::InvalidField { field, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid_request() -> NewKeyRequest {
        NewKeyRequest { name: "web shop".into(), scopes: vec!["chat".into()], ..NewKeyRequest::default() }
    }

    #[test]
    fn a_key_is_made_as_requested() {
        let now = UNIX_EPOCH + DAY;
        let request =
            NewKeyRequest { expires_in_days: Some(2), requests_per_minute: Some(60), ..valid_request() };
        let (text, new) = request.issue("machine".into(), now).unwrap();
        assert!(text.matches(&new.hash) && text.id == new.id);
        assert_eq!((new.tenant.as_str(), new.expires_at), ("default", Some(3 * 24 * 3_600_000)));
        assert_eq!((new.scopes, new.requests_per_minute), (vec!["chat".to_owned()], Some(60)));
    }

    #[test]
    fn an_invalid_field_is_named() {
        let cases = [
            ("name", NewKeyRequest { name: " ".into(), ..valid_request() }),
            ("name", NewKeyRequest { name: "a\nb".into(), ..valid_request() }),
            ("name", NewKeyRequest { name: "x".repeat(101), ..valid_request() }),
            ("scopes", NewKeyRequest { scopes: Vec::new(), ..valid_request() }),
            ("scopes", NewKeyRequest { scopes: vec!["root".into()], ..valid_request() }),
            ("tenant", NewKeyRequest { tenant: Some("A".into()), ..valid_request() }),
            (
                "scopes",
                NewKeyRequest {
                    scopes: vec!["admin:read".into()],
                    tenant: Some("acme".into()),
                    ..valid_request()
                },
            ),
            ("companions", NewKeyRequest { companions: Some(Vec::new()), ..valid_request() }),
            ("companions", NewKeyRequest { companions: Some(vec!["a b".into()]), ..valid_request() }),
            ("requests_per_minute", NewKeyRequest { requests_per_minute: Some(0), ..valid_request() }),
            ("tokens_per_day", NewKeyRequest { tokens_per_day: Some(0), ..valid_request() }),
            ("tokens_per_day", NewKeyRequest { tokens_per_day: Some(u64::MAX), ..valid_request() }),
            ("expires_in_days", NewKeyRequest { expires_in_days: Some(0), ..valid_request() }),
        ];
        for (expected, request) in cases {
            match request.clone().issue("machine".into(), UNIX_EPOCH) {
                Err(KeyRequestError::InvalidField { field, detail }) => {
                    assert_eq!(field, expected, "{request:?}");
                    assert!(detail.contains(field) || field == "scopes", "{detail}");
                }
                other => panic!("{request:?}: {other:?}"),
            }
        }
    }
}
