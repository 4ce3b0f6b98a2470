//! The rules of one issuer: judges the header and the claims of a token, and writes the claims of the host's own
//! tokens. Pure: a token and a time in, a verdict out.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};

use super::compact::CompactToken;
use super::options::{IssuerOptions, TokenOptions};
use super::rejection::TokenRejection;
use super::types::{TokenRequest, VerifiedToken};
use crate::owner::{DEFAULT_TENANT, MAX_SUBJECT_CHARS, is_name, is_subject};

/// The end of the year 9999, in seconds since the Unix epoch. Later times are mistakes; no sum with an earlier one
/// overflows.
const MAX_TIME: f64 = 253_402_300_799.0;

/// The types that are accepted unless the configuration names one: those of RFC 9068, section 2.1, and what most
/// providers write.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// What the tokens of one issuer have to say.
pub(super) struct TokenRules {
    pub(super) issuer: String,
    audience: Vec<String>,
    /// In seconds.
    leeway: i64,
    /// The only type that is accepted, in lower case; `None` for those in [`TYPES`].
    typ: Option<String>,
    scope_claim: String,
    default_scopes: Vec<String>,
    tenant: TenantRule,
}

/// How the tenant of a token is found.
enum TenantRule {
    /// All tokens are of the default tenant.
    Default,
    /// The claim with this name says it; a token without the claim is of the default tenant.
    OptionalClaim(String),
    /// The claim with this name says it; a token without the claim is refused.
    RequiredClaim(String),
}

impl TokenRules {
    /// The rules for the host's own tokens.
    pub(super) fn own(options: &TokenOptions) -> Self {
        Self {
            issuer: options.issuer.clone(),
            audience: vec![options.audience.clone()],
            leeway: seconds(options.leeway),
            typ: None,
            scope_claim: "scope".to_owned(),
            default_scopes: Vec::new(),
            tenant: TenantRule::OptionalClaim("tenant".to_owned()),
        }
    }

    /// The rules for the tokens of an identity provider.
    pub(super) fn of(issuer: &IssuerOptions, leeway: Duration) -> Self {
        Self {
            issuer: issuer.issuer.clone(),
            audience: issuer.audience.clone(),
            leeway: seconds(leeway),
            typ: issuer.typ.as_ref().map(|typ| typ.to_ascii_lowercase()),
            scope_claim: issuer.scope_claim.clone(),
            default_scopes: issuer.default_scopes.clone(),
            tenant: issuer.tenant_claim.clone().map_or(TenantRule::Default, TenantRule::RequiredClaim),
        }
    }

    /// Judges the header, before any key is looked up: the type, and the algorithm, which has to be one of `allowed`.
    pub(super) fn check_header(
        &self,
        token: &CompactToken<'_>,
        allowed: &[Algorithm],
    ) -> Result<Algorithm, TokenRejection> {
        let typ = token.typ.as_ref().map(|typ| typ.to_ascii_lowercase());
        // `application/` may be left out (RFC 7515, section 4.1.9).
        let short = |typ: &str| typ.strip_prefix("application/").unwrap_or(typ).to_owned();
        let is_right_type = match (&self.typ, &typ) {
            (Some(required), Some(typ)) => short(required) == short(typ),
            (Some(_), None) => false,
            (None, Some(typ)) => TYPES.contains(&typ.as_str()),
            (None, None) => true,
        };
        if !is_right_type {
            return Err(TokenRejection::Type);
        }
        // Names are compared exactly. `none` is in no list, in no spelling.
        allowed
            .iter()
            .copied()
            .find(|known| format!("{known:?}") == token.algorithm)
            .ok_or(TokenRejection::Algorithm)
    }

    /// Judges the claims of a token whose signature is right. `now` is in seconds since the Unix epoch.
    pub(super) fn check_claims(
        &self,
        token: CompactToken<'_>,
        now: i64,
        is_own: bool,
    ) -> Result<VerifiedToken, TokenRejection> {
        let claims = token.payload;
        let expires_at = time(&claims, "exp")?.ok_or(TokenRejection::Claims)?;
        if now >= expires_at.saturating_add(self.leeway) {
            return Err(TokenRejection::Expired);
        }
        let issued_at = time(&claims, "iat")?;
        let not_before = time(&claims, "nbf")?;
        if [issued_at, not_before].into_iter().flatten().any(|from| from > now.saturating_add(self.leeway)) {
            return Err(TokenRejection::NotYetValid);
        }
        // RFC 7519, section 4.1.3: a token whose audience does not name this host has to be refused.
        let audiences = strings(claims.get("aud"), SingleString::OneItem).ok_or(TokenRejection::Audience)?;
        if !audiences.iter().any(|audience| self.audience.contains(audience)) {
            return Err(TokenRejection::Audience);
        }
        let subject =
            text(&claims, "sub")?.filter(|subject| is_subject(subject)).ok_or(TokenRejection::Claims)?;
        let jti = text(&claims, "jti")?;
        if jti.as_ref().is_some_and(|jti| jti.chars().count() > MAX_SUBJECT_CHARS) {
            return Err(TokenRejection::Claims);
        }
        let mut scopes = match claims.get(&self.scope_claim) {
            None => Vec::new(),
            given => strings(given, SingleString::SpaceSeparated).ok_or(TokenRejection::Claims)?,
        };
        scopes.extend(self.default_scopes.iter().cloned());
        Ok(VerifiedToken {
            tenant: self.tenant.tenant_of(&claims)?,
            client_id: text(&claims, "client_id")?,
            issuer: self.issuer.clone(),
            subject,
            scopes,
            jti,
            issued_at,
            is_own,
            claims,
        })
    }

    /// The claims of a token of this host (RFC 9068, section 2.2).
    pub(super) fn write_claims(&self, request: &TokenRequest, jti: &str, now: i64) -> Value {
        let mut claims = json!({
            "iss": self.issuer,
            "sub": request.subject,
            "aud": self.audience.first(),
            "exp": now.saturating_add(seconds(request.lifetime)),
            "iat": now,
            "jti": jti,
            "scope": request.scopes.join(" "),
        });
        if let Value::Object(claims) = &mut claims {
            if let Some(client) = &request.client_id {
                claims.insert("client_id".into(), client.as_str().into());
            }
            if request.tenant != DEFAULT_TENANT {
                claims.insert("tenant".into(), request.tenant.as_str().into());
            }
        }
        claims
    }
}

impl TenantRule {
    fn tenant_of(&self, claims: &Map<String, Value>) -> Result<String, TokenRejection> {
        let (claim, is_required) = match self {
            Self::Default => return Ok(DEFAULT_TENANT.to_owned()),
            Self::OptionalClaim(claim) => (claim, false),
            Self::RequiredClaim(claim) => (claim, true),
        };
        match text(claims, claim)? {
            Some(tenant) if is_name(&tenant) => Ok(tenant),
            None if !is_required => Ok(DEFAULT_TENANT.to_owned()),
            Some(_) | None => Err(TokenRejection::Claims),
        }
    }
}

/// Reads a NumericDate (RFC 7519, section 2), rounded down to whole seconds.
fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<i64>, TokenRejection> {
    match claims.get(claim) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            #[allow(
                clippy::cast_possible_truncation,
                reason = "fractions are dropped, and the whole seconds fit"
            )]
            Some(time) if (0.0..=MAX_TIME).contains(&time) => Ok(Some(time as i64)),
            _ => Err(TokenRejection::Claims),
        },
    }
}

fn text(claims: &Map<String, Value>, claim: &str) -> Result<Option<String>, TokenRejection> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(TokenRejection::Claims),
    }
}

/// What a claim means that is one string where a list is possible.
#[derive(Clone, Copy)]
enum SingleString {
    /// A list with this one item.
    OneItem,
    /// A list separated by spaces (RFC 6749, section 3.3).
    SpaceSeparated,
}

/// Reads a string or a list of strings; `None` for anything else.
fn strings(value: Option<&Value>, single: SingleString) -> Option<Vec<String>> {
    match (value?, single) {
        (Value::String(text), SingleString::OneItem) => Some(vec![text.clone()]),
        (Value::String(text), SingleString::SpaceSeparated) => {
            Some(text.split_whitespace().map(str::to_owned).collect())
        }
        (Value::Array(items), _) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
