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

/// The tokens that this host accepts.
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
        allow_http: issuer.allow_http,
        audience: issuer.audience.clone(),
        audience_claim: issuer.audience_claim.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str =
        r#"{"kty": "oct", "kid": "2026-08", "k": "9oN8gTq4m2xVbYc7Rk1LzWj5uPsHd3EaFi6Qt0yXrGI"}"#;
    const NEW: &str =
        r#"{"kty": "oct", "kid": "2026-11", "k": "Zc3vKp8sQn1Tf6WyBg4Jh9RmXd2LaUe7Io5Nx0wCqEY"}"#;

    fn key_set(keys: &[&str]) -> String {
        format!(r#"{{"keys": [{}]}}"#, keys.join(", "))
    }

    /// The `kid` of each secret, and whether the secret is weak.
    fn read(file: &SecretFile) -> Result<Vec<(Option<String>, bool)>, String> {
        let secrets = file.read()?;
        Ok(secrets.into_iter().map(|secret| (secret.kid, secret.weakness.is_some())).collect())
    }

    #[test]
    fn a_secret_file_is_read_as_it_is_at_each_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        let file = SecretFile(path.clone());
        let strong = |kid: &str| (Some(kid.to_owned()), false);

        std::fs::write(&path, key_set(&[OLD])).unwrap();
        assert_eq!(read(&file), Ok(vec![strong("2026-08")]));

        std::fs::write(&path, "{").unwrap();
        let error = read(&file).unwrap_err();
        assert!(error.contains("secrets.json") && error.contains("no JWK Set"), "{error}");

        std::fs::write(&path, "short").unwrap();
        assert_eq!(read(&file), Ok(vec![(None, true)]));
        let weakness = file.read().unwrap().remove(0).weakness.unwrap();
        assert_eq!(weakness, "the secret has 5 bytes, and 32 are the least");

        std::fs::write(&path, key_set(&[NEW, OLD])).unwrap();
        assert_eq!(read(&file), Ok(vec![strong("2026-11"), strong("2026-08")]));
        let bytes: Vec<_> = file.read().unwrap().into_iter().map(|secret| secret.bytes).collect();
        assert!(bytes.iter().all(|bytes| bytes.len() == 32) && bytes[0] != bytes[1]);

        std::fs::remove_file(&path).unwrap();
        assert!(read(&file).unwrap_err().contains("there is no file"));
    }
}
