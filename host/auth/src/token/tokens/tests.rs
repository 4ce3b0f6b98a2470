//! Minting and verifying against the clock, and replacing secrets. The end-to-end tests forge tokens over real sockets.

use std::fmt;
use std::sync::Mutex;

use super::*;
use crate::token::{SigningOptions, SigningSecret, SigningSecretSource};

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
        (-7, Err(TokenRejection::NotYetValid)),
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
