//! The options of authentication and limits, from `[auth]` and `[limits]`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use masque_auth::limits::LimitOptions;
use masque_auth::{
    IssuerOptions, JwksSource, SigningOptions, SigningSecret, SigningSecretSource, TokenOptions,
};

use super::store::quota;
use masque_config::{self, Allowance, Auth, Issuer, JwkSource, SigningKey};

/// The tokens that count on this host.
pub(crate) fn token_options(auth: &Auth) -> TokenOptions {
    let signing = auth.secret.as_ref().map(|secret| SigningOptions {
        secrets: secret.keys.iter().map(signing_secret).collect(),
        source: secret.file.clone().map(|path| Arc::new(SecretFile(path)) as Arc<dyn SigningSecretSource>),
    });
    TokenOptions {
        issuer: auth.issuer.clone(),
        audience: auth.audience.clone(),
        leeway: auth.leeway,
        default_lifetime: auth.token_lifetime,
        max_lifetime: auth.max_token_lifetime,
        signing,
        issuers: auth.issuers.values().map(issuer_options).collect(),
    }
}

/// What each address and each user may ask.
pub(crate) fn limit_options(limits: &Allowance) -> LimitOptions {
    LimitOptions {
        address: limits.address.map(quota),
        user: limits.user.map(quota),
        tokens_per_day: limits.tokens_per_day,
    }
}

fn signing_secret(key: &SigningKey) -> SigningSecret {
    SigningSecret { kid: key.kid.clone(), bytes: key.bytes(), weakness: key.weakness() }
}

fn issuer_options(issuer: &Issuer) -> IssuerOptions {
    IssuerOptions {
        issuer: issuer.issuer.clone(),
        source: match &issuer.source {
            JwkSource::File(path) => JwksSource::File(path.clone()),
            JwkSource::Url(url) => JwksSource::Url(url.clone()),
            JwkSource::Discovery => JwksSource::Discovery,
        },
        audience: issuer.audience.clone(),
        algorithms: issuer.algorithms.clone(),
        typ: issuer.typ.clone(),
        scope_claim: issuer.scope_claim.clone(),
        default_scopes: issuer.default_scopes.clone(),
        tenant_claim: issuer.tenant_claim.clone(),
        refresh: issuer.refresh,
        cooldown: issuer.cooldown,
    }
}

/// The file that `JWT_SECRET_KEY_FILE` or `secret_file` names.
struct SecretFile(PathBuf);

impl SigningSecretSource for SecretFile {
    fn read(&self) -> Result<Vec<SigningSecret>, String> {
        Ok(masque_config::read_signing_keys(&self.0)?.iter().map(signing_secret).collect())
    }
}

impl fmt::Display for SecretFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(formatter)
    }
}
