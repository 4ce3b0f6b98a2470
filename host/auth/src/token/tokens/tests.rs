//! Minting and verifying against the clock, and replacing secrets. The end-to-end tests forge tokens over real sockets.

use std::fmt;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::json;

use super::*;
use crate::token::{IssuerOptions, JwksSource, SigningOptions, SigningSecret, SigningSecretSource};

const SECRET: &str = "pS0bXq7s0pGJx5m1cVYwN2v8dLr4TzKeHfUaQ3oW6Rg=";

fn secret(kid: Option<&str>) -> SigningSecret {
    let bytes = format!("{}{SECRET}", kid.unwrap_or_default()).into_bytes();
    SigningSecret { kid: kid.map(str::to_owned), bytes, weakness: None }
}

fn options(signing: Option<SigningOptions>) -> TokenOptions {
    TokenOptions {
        issuer: "masque".into(),
        audience: "masque".into(),
        leeway: Duration::from_secs(5),
        default_lifetime: Duration::from_secs(3600),
        max_lifetime: Duration::from_secs(24 * 3600),
        signing,
        issuers: Vec::new(),
    }
}

fn request() -> TokenRequest {
    TokenRequest {
        subject: "ana".into(),
        tenant: "acme".into(),
        scopes: vec!["chat".into()],
        client_id: Some("0123456789abcdef".into()),
        lifetime: Duration::from_secs(60),
    }
}

/// A file of secrets, as the test has it read.
struct FakeFile(Mutex<Result<Vec<SigningSecret>, String>>);

impl FakeFile {
    fn replace(&self, read: Result<Vec<SigningSecret>, String>) {
        *self.0.lock().unwrap() = read;
    }
}

impl SigningSecretSource for FakeFile {
    fn read(&self) -> Result<Vec<SigningSecret>, String> {
        self.0.lock().unwrap().clone()
    }
}

impl fmt::Display for FakeFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("secrets.json")
    }
}

#[tokio::test]
async fn a_token_is_valid_from_minting_to_expiry() {
    let signing = SigningOptions { secrets: vec![secret(None)], source: None };
    let tokens = Tokens::open(options(Some(signing))).unwrap();
    let minted = tokens.mint(&request()).unwrap();
    assert_eq!(minted.expires_in, Duration::from_secs(60));
    let minted_at = now();
    let verified = tokens.verify_at(&minted.token, minted_at).await.unwrap();
    assert_eq!((verified.subject.as_str(), verified.tenant.as_str(), verified.is_own), ("ana", "acme", true));
    assert_eq!((verified.scopes, verified.jti), (vec!["chat".to_owned()], Some(minted.jti)));
    assert_eq!(verified.client_id.as_deref(), Some("0123456789abcdef"));
    for (after, expected) in [
        (-7, Err(TokenRejection::NotYetValid("iat"))),
        (-4, Ok(())),
        (59, Ok(())),
        (64, Ok(())),
        (66, Err(TokenRejection::Expired)),
        (1_000_000, Err(TokenRejection::Expired)),
    ] {
        let verified = tokens.verify_at(&minted.token, minted_at + after).await;
        assert_eq!(verified.map(drop), expected, "after {after} s");
    }
}

#[tokio::test]
async fn a_new_secret_replaces_an_old_one_with_an_overlap() {
    let set = |kids: &[&str]| Ok(kids.iter().map(|kid| secret(Some(kid))).collect::<Vec<_>>());
    let file = Arc::new(FakeFile(Mutex::new(set(&["old0"]))));
    let source: Arc<dyn SigningSecretSource> = file.clone();
    let signing = SigningOptions { secrets: file.read().unwrap(), source: Some(source) };
    let tokens = Tokens::open(options(Some(signing))).unwrap();
    let secrets = tokens.own.secrets.as_ref().unwrap();
    let old = tokens.mint(&request()).unwrap().token;

    // The first reload may have read a file that is being written, so it takes two.
    file.replace(set(&["new0", "old0"]));
    secrets.reload().await;
    assert_eq!(tokens.mint(&request()).unwrap().token.split('.').next(), old.split('.').next());
    secrets.reload().await;
    let new = tokens.mint(&request()).unwrap().token;
    for token in [&old, &new] {
        tokens.verify(token).await.unwrap();
    }
    // A file that is broken for a moment changes nothing.
    file.replace(Err("secrets.json: no JWK Set".into()));
    secrets.reload().await;
    tokens.verify(&new).await.unwrap();

    // A weak secret does not replace a strong one.
    let weakness = Some("the secret has 6 bytes, and 32 are the least".to_owned());
    file.replace(Ok(vec![SigningSecret { kid: None, bytes: b"secret".to_vec(), weakness }]));
    for _ in 0..3 {
        secrets.reload().await;
    }
    tokens.verify(&new).await.unwrap();

    file.replace(set(&["new0"]));
    secrets.reload().await;
    secrets.reload().await;
    assert_eq!(tokens.verify(&old).await.map(drop), Err(TokenRejection::UnknownKey));
    tokens.verify(&new).await.unwrap();
}

#[tokio::test]
async fn without_a_secret_the_host_has_no_tokens_of_its_own() {
    let signing = SigningOptions { secrets: vec![secret(None)], source: None };
    let token = Tokens::open(options(Some(signing))).unwrap().mint(&request()).unwrap().token;
    let tokens = Tokens::open(options(None)).unwrap();
    assert!(tokens.mint(&request()).is_err());
    assert_eq!(tokens.verify(&token).await.map(drop), Err(TokenRejection::UnknownIssuer));
}

/// An identity provider whose one key is in a file.
struct FileProvider {
    signing: EncodingKey,
    folder: tempfile::TempDir,
}

const PROVIDER: &str = "https://id.example.com/";

impl FileProvider {
    fn new() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "alg": "Ed25519", "x": x }] });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("keys.json"), set.to_string()).unwrap();
        Self { signing: EncodingKey::from_ed_der(&pair.serialize_der()), folder }
    }

    fn tokens(&self, change: impl FnOnce(&mut IssuerOptions)) -> Arc<Tokens> {
        let mut issuer = IssuerOptions {
            issuer: PROVIDER.into(),
            source: JwksSource::File(self.folder.path().join("keys.json")),
            allow_http: false,
            audience: vec!["masque".into()],
            audience_claim: "aud".into(),
            algorithms: vec!["EdDSA".into()],
            typ: None,
            scope_claim: "scope".into(),
            default_scopes: Vec::new(),
            tenant_claim: None,
            refresh: Duration::from_secs(900),
            cooldown: Duration::from_secs(10),
        };
        change(&mut issuer);
        Tokens::open(TokenOptions { issuers: vec![issuer], ..options(None) }).unwrap()
    }

    /// A token with this header and the usual claims with changes.
    fn token(&self, header: &Value, changes: &Value) -> String {
        let mut claims = json!({
            "iss": PROVIDER, "sub": "ana", "aud": "masque", "iat": now(), "exp": now() + 600, "scope": "chat",
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(&claims));
        let signature = crypto::sign(message.as_bytes(), &self.signing, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    }
}

#[tokio::test]
async fn an_access_token_without_an_audience_is_taken_where_another_claim_names_it() {
    let provider = FileProvider::new();
    let header = json!({ "alg": "EdDSA" });
    let token = |changes: Value| provider.token(&header, &changes);
    let by_client = provider.tokens(|issuer| issuer.audience_claim = "client_id".into());
    by_client.verify(&token(json!({ "aud": null, "client_id": "masque" }))).await.unwrap();
    // A Keycloak token is for `account`, and names the client that it was made for in `azp`.
    let by_party = provider.tokens(|issuer| issuer.audience_claim = "azp".into());
    by_party.verify(&token(json!({ "aud": "account", "azp": "masque" }))).await.unwrap();

    let wrong = |claim: &str| Err(TokenRejection::Audience(claim.into()));
    let strict = provider.tokens(|_| {});
    let without = token(json!({ "aud": null, "client_id": "masque" }));
    assert_eq!(strict.verify(&without).await.map(drop), wrong("aud"));
    for changes in [json!({ "client_id": "other" }), json!({ "client_id": null }), json!({})] {
        assert_eq!(
            by_client.verify(&token(changes.clone())).await.map(drop),
            wrong("client_id"),
            "{changes}"
        );
    }
}

#[tokio::test]
async fn a_header_may_bring_keys_along_which_never_count() {
    let (provider, forger) = (FileProvider::new(), FileProvider::new());
    let tokens = provider.tokens(|_| {});
    for extra in [
        json!({ "x5c": ["MIIB"] }),
        json!({ "jku": "http://127.0.0.1:1/keys" }),
        json!({ "x5u": "http://127.0.0.1:1/cert" }),
        json!({ "jwk": { "kty": "OKP", "crv": "Ed25519", "x": "AQ" } }),
        json!({ "x5t": "AQ", "cty": "JWT", "kid": null, "typ": null, "nonce": "n" }),
    ] {
        let mut header = json!({ "alg": "EdDSA" });
        header.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
        tokens.verify(&provider.token(&header, &json!({}))).await.unwrap();
        let forged = tokens.verify(&forger.token(&header, &json!({}))).await;
        assert_eq!(forged.map(drop), Err(TokenRejection::Signature), "{extra}");
    }
    for extra in [json!({ "crit": ["exp"] }), json!({ "b64": false }), json!({ "zip": "DEF" })] {
        let mut header = json!({ "alg": "EdDSA" });
        header.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
        let refused = tokens.verify(&provider.token(&header, &json!({}))).await;
        assert_eq!(refused.map(drop), Err(TokenRejection::Header), "{extra}");
    }
}

#[tokio::test]
async fn ed25519_is_accepted_wherever_eddsa_is() {
    let provider = FileProvider::new();
    for algorithms in ["EdDSA", "Ed25519"] {
        let tokens = provider.tokens(|issuer| issuer.algorithms = vec![algorithms.into()]);
        for alg in ["EdDSA", "Ed25519"] {
            tokens.verify(&provider.token(&json!({ "alg": alg }), &json!({}))).await.unwrap();
        }
    }
    let tokens = provider.tokens(|issuer| issuer.algorithms = vec!["RS256".into()]);
    let refused = tokens.verify(&provider.token(&json!({ "alg": "Ed25519" }), &json!({}))).await;
    assert_eq!(refused.map(drop), Err(TokenRejection::Algorithm));
}

#[tokio::test]
async fn scopes_and_tenant_are_found_at_the_end_of_a_path() {
    let provider = FileProvider::new();
    let tokens = provider.tokens(|issuer| {
        issuer.scope_claim = "realm_access.roles".into();
        issuer.tenant_claim = Some("org.slug".into());
    });
    let changes = json!({ "scope": null, "realm_access": { "roles": ["chat", "offline_access"] }, "org": { "slug": "acme" } });
    let verified = tokens.verify(&provider.token(&json!({ "alg": "EdDSA" }), &changes)).await.unwrap();
    assert_eq!(
        (verified.scopes.as_slice(), verified.tenant.as_str()),
        (["chat".to_owned(), "offline_access".to_owned()].as_slice(), "acme")
    );
}

#[tokio::test]
async fn a_refusal_names_the_claim() {
    let provider = FileProvider::new();
    let tokens = provider.tokens(|issuer| issuer.tenant_claim = Some("org".into()));
    let mut refused = Vec::new();
    for changes in [
        json!({ "exp": null, "org": "a" }),
        json!({ "exp": 1, "org": "a" }),
        json!({ "nbf": now() + 600, "org": "a" }),
        json!({ "iat": now() + 600, "org": "a" }),
        json!({ "aud": "other", "org": "a" }),
        json!({ "sub": 7, "org": "a" }),
        json!({ "jti": ["x"], "org": "a" }),
        json!({ "scope": {}, "org": "a" }),
        json!({ "org": null }),
        json!({ "org": "A b" }),
        json!({ "iss": "https://id.example.com" }),
    ] {
        let rejection =
            tokens.verify(&provider.token(&json!({ "alg": "EdDSA" }), &changes)).await.unwrap_err();
        let claim = rejection.claim().unwrap().to_owned();
        assert!(rejection.to_string().contains(&format!("`{claim}`")), "{rejection}");
        refused.push(claim);
    }
    assert_eq!(refused, ["exp", "exp", "nbf", "iat", "aud", "sub", "jti", "scope", "org", "org", "iss"]);
    // What is null is absent, and these need not be there.
    let nulls =
        json!({ "org": "a", "iat": null, "nbf": null, "jti": null, "scope": null, "client_id": null });
    tokens.verify(&provider.token(&json!({ "alg": "EdDSA" }), &nulls)).await.unwrap();
}
