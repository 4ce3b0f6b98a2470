//! What a token says, judged by the rules of its issuer. Pure: a token and a time in, a verdict out.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};

use super::compact::Compact;
use super::refused::Refused;
use super::{Verified, Wish};
use crate::auth::DEFAULT_TENANT;
use crate::config;

/// Characters of a user's id and of a token's.
const LONGEST_NAME: usize = 255;
/// The end of the year 9999: later times are mistakes, and no sum with one overflows.
const LATEST: f64 = 253_402_300_799.0;

/// The types of access tokens: by RFC 9068, section 2.1, and what most providers write.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// What an issuer's tokens have to say.
pub(super) struct Rules {
    pub(super) issuer: String,
    audience: Vec<String>,
    leeway: i64,
    /// The one type that is taken, in lower case.
    typ: Option<String>,
    scope_claim: String,
    default_scopes: Vec<String>,
    tenant: Tenant,
}

/// Where a token says whose tenant it is of.
enum Tenant {
    /// There is one only.
    Only,
    /// Here, or it is the default one.
    Maybe(String),
    /// Here.
    Always(String),
}

/// Whether the text can be a user's id.
pub(crate) fn is_subject(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

impl Rules {
    pub(super) fn own(auth: &config::Auth) -> Self {
        Self {
            issuer: auth.issuer.clone(),
            audience: vec![auth.audience.clone()],
            leeway: seconds(auth.leeway),
            typ: None,
            scope_claim: "scope".to_owned(),
            default_scopes: Vec::new(),
            tenant: Tenant::Maybe("tenant".to_owned()),
        }
    }

    pub(super) fn of(issuer: &config::Issuer, leeway: Duration) -> Self {
        Self {
            issuer: issuer.issuer.clone(),
            audience: issuer.audience.clone(),
            leeway: seconds(leeway),
            typ: issuer.typ.as_ref().map(|typ| typ.to_ascii_lowercase()),
            scope_claim: issuer.scope_claim.clone(),
            default_scopes: issuer.default_scopes.clone(),
            tenant: issuer.tenant_claim.clone().map_or(Tenant::Only, Tenant::Always),
        }
    }

    /// The header's part, before any key is asked for: the type, and an algorithm of those allowed.
    pub(super) fn admit(&self, token: &Compact<'_>, allowed: &[Algorithm]) -> Result<Algorithm, Refused> {
        let typ = token.typ.as_ref().map(|typ| typ.to_ascii_lowercase());
        // `application/` may be left out (RFC 7515, section 4.1.9).
        let short = |typ: &str| typ.strip_prefix("application/").unwrap_or(typ).to_owned();
        let right = match (&self.typ, &typ) {
            (Some(wanted), Some(typ)) => short(wanted) == short(typ),
            (Some(_), None) => false,
            (None, Some(typ)) => TYPES.contains(&typ.as_str()),
            (None, None) => true,
        };
        if !right {
            return Err(Refused::Type);
        }
        // Exactly as it is written: `none` is in no list, however it is spelt.
        allowed
            .iter()
            .copied()
            .find(|known| format!("{known:?}") == token.algorithm)
            .ok_or(Refused::Algorithm)
    }

    /// The claims of a token whose signature is right.
    pub(super) fn judge(&self, token: Compact<'_>, now: i64, own: bool) -> Result<Verified, Refused> {
        let claims = token.payload;
        let expires_at = time(&claims, "exp")?.ok_or(Refused::Claims)?;
        if now >= expires_at.saturating_add(self.leeway) {
            return Err(Refused::Expired);
        }
        let issued_at = time(&claims, "iat")?;
        let not_before = time(&claims, "nbf")?;
        if [issued_at, not_before].into_iter().flatten().any(|from| from > now.saturating_add(self.leeway)) {
            return Err(Refused::NotYetValid);
        }
        // RFC 7519, section 4.1.3: a token without our name in its audience is not for us.
        let audiences = words(claims.get("aud"), Words::Whole).ok_or(Refused::Audience)?;
        if !audiences.iter().any(|audience| self.audience.contains(audience)) {
            return Err(Refused::Audience);
        }
        let subject = text(&claims, "sub")?.filter(|subject| is_subject(subject)).ok_or(Refused::Claims)?;
        let jti = text(&claims, "jti")?;
        if jti.as_ref().is_some_and(|jti| jti.chars().count() > LONGEST_NAME) {
            return Err(Refused::Claims);
        }
        let mut scopes = match claims.get(&self.scope_claim) {
            None => Vec::new(),
            given => words(given, Words::Spaced).ok_or(Refused::Claims)?,
        };
        scopes.extend(self.default_scopes.iter().cloned());
        Ok(Verified {
            tenant: self.tenant.of(&claims)?,
            client_id: text(&claims, "client_id")?,
            issuer: self.issuer.clone(),
            subject,
            scopes,
            jti,
            issued_at,
            own,
            claims,
        })
    }

    /// What a token of one's own says: RFC 9068, section 2.2.
    pub(super) fn claims(&self, wish: &Wish, jti: &str, now: i64) -> Value {
        let mut claims = json!({
            "iss": self.issuer,
            "sub": wish.subject,
            "aud": self.audience.first(),
            "exp": now.saturating_add(seconds(wish.lifetime)),
            "iat": now,
            "jti": jti,
            "scope": wish.scopes.join(" "),
        });
        if let Value::Object(claims) = &mut claims {
            if let Some(client) = &wish.client_id {
                claims.insert("client_id".into(), client.as_str().into());
            }
            if wish.tenant != DEFAULT_TENANT {
                claims.insert("tenant".into(), wish.tenant.as_str().into());
            }
        }
        claims
    }
}

impl Tenant {
    fn of(&self, claims: &Map<String, Value>) -> Result<String, Refused> {
        let (claim, needed) = match self {
            Self::Only => return Ok(DEFAULT_TENANT.to_owned()),
            Self::Maybe(claim) => (claim, false),
            Self::Always(claim) => (claim, true),
        };
        match text(claims, claim)? {
            Some(tenant) if masque_runtime::is_name(&tenant) => Ok(tenant),
            None if !needed => Ok(DEFAULT_TENANT.to_owned()),
            Some(_) | None => Err(Refused::Claims),
        }
    }
}

/// A NumericDate (RFC 7519, section 2) in whole seconds.
fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<i64>, Refused> {
    match claims.get(claim) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            #[allow(clippy::cast_possible_truncation, reason = "whole seconds are what counts, and they fit")]
            Some(time) if (0.0..=LATEST).contains(&time) => Ok(Some(time as i64)),
            _ => Err(Refused::Claims),
        },
    }
}

fn text(claims: &Map<String, Value>, claim: &str) -> Result<Option<String>, Refused> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refused::Claims),
    }
}

/// What one string stands for.
#[derive(Clone, Copy)]
enum Words {
    Whole,
    /// A list (RFC 6749, section 3.3).
    Spaced,
}

/// A string or a list of strings.
fn words(value: Option<&Value>, one: Words) -> Option<Vec<String>> {
    match (value?, one) {
        (Value::String(text), Words::Whole) => Some(vec![text.clone()]),
        (Value::String(text), Words::Spaced) => Some(text.split_whitespace().map(str::to_owned).collect()),
        (Value::Array(items), _) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
