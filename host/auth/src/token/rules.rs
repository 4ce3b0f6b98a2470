//! The rules of one issuer: judges the header and the claims of a token, and writes the claims of the host's own
//! tokens. Pure: a token and a time in, a verdict out.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value, json};

use super::algorithms::parse_algorithm;
use super::claims::{self, SingleString};
use super::compact::CompactToken;
use super::options::{IssuerOptions, TokenOptions};
use super::rejection::TokenRejection;
use super::types::{TokenRequest, VerifiedToken};
use crate::owner::{DEFAULT_TENANT, MAX_SUBJECT_CHARS, is_name, is_subject};

/// The types that are accepted unless the configuration names one: those of RFC 9068, section 2.1, and what most
/// providers write.
const TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];

/// What the tokens of one issuer have to say.
pub(super) struct TokenRules {
    pub(super) issuer: String,
    audience: Vec<String>,
    /// The claim that has to name one of them.
    audience_claim: String,
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
            audience_claim: "aud".to_owned(),
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
            audience_claim: issuer.audience_claim.clone(),
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
        parse_algorithm(&token.algorithm)
            .filter(|algorithm| allowed.contains(algorithm))
            .ok_or(TokenRejection::Algorithm)
    }

    /// Judges the claims of a token whose signature is right. `now` is in seconds since the Unix epoch.
    pub(super) fn check_claims(
        &self,
        token: CompactToken<'_>,
        now: i64,
        is_own: bool,
    ) -> Result<VerifiedToken, TokenRejection> {
        let payload = token.payload;
        let expires_at = claims::time(&payload, "exp")?.ok_or_else(|| claims::missing("exp"))?;
        if now >= expires_at.saturating_add(self.leeway) {
            return Err(TokenRejection::Expired);
        }
        let issued_at = claims::time(&payload, "iat")?;
        let not_before = claims::time(&payload, "nbf")?;
        for (claim, from) in [("iat", issued_at), ("nbf", not_before)] {
            if from.is_some_and(|from| from > now.saturating_add(self.leeway)) {
                return Err(TokenRejection::NotYetValid(claim));
            }
        }
        // RFC 7519, section 4.1.3: a token whose audience does not name this host has to be refused.
        let audiences = claims::strings(&payload, &self.audience_claim, SingleString::OneItem)?;
        if !audiences.iter().flatten().any(|audience| self.audience.contains(audience)) {
            return Err(TokenRejection::Audience(self.audience_claim.clone()));
        }
        let subject = claims::text(&payload, "sub")?.ok_or_else(|| claims::missing("sub"))?;
        if !is_subject(&subject) {
            return Err(claims::wrong_form("sub", "1 to 255 characters without controls"));
        }
        let jti = claims::text(&payload, "jti")?;
        if jti.as_ref().is_some_and(|jti| jti.chars().count() > MAX_SUBJECT_CHARS) {
            return Err(claims::wrong_form("jti", "255 characters or less"));
        }
        let scopes = claims::strings(&payload, &self.scope_claim, SingleString::SpaceSeparated)?;
        let mut scopes = scopes.unwrap_or_default();
        scopes.extend(self.default_scopes.iter().cloned());
        Ok(VerifiedToken {
            tenant: self.tenant.tenant_of(&payload)?,
            client_id: claims::text(&payload, "client_id")?,
            issuer: self.issuer.clone(),
            subject,
            scopes,
            jti,
            issued_at,
            is_own,
            claims: payload,
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
    fn tenant_of(&self, payload: &Map<String, Value>) -> Result<String, TokenRejection> {
        let (claim, is_required) = match self {
            Self::Default => return Ok(DEFAULT_TENANT.to_owned()),
            Self::OptionalClaim(claim) => (claim, false),
            Self::RequiredClaim(claim) => (claim, true),
        };
        match claims::text(payload, claim)? {
            Some(tenant) if is_name(&tenant) => Ok(tenant),
            Some(_) => Err(claims::wrong_form(claim, "1 to 64 of the characters a-z, 0-9 and -")),
            None if is_required => Err(claims::missing(claim)),
            None => Ok(DEFAULT_TENANT.to_owned()),
        }
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
