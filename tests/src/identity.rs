//! Makes valid and invalid tokens, and serves an identity provider that publishes keys.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::setup::Setup;

/// A secret as `openssl rand -base64 32` makes it.
pub const SECRET: &str = "pS0bXq7s0pGJx5m1cVYwN2v8dLr4TzKeHfUaQ3oW6Rg=";

/// Returns the claims of a valid token of a host with [`SECRET`].
pub fn claims(subject: &str) -> Map<String, Value> {
    let claims = json!({
        "iss": "masque", "aud": "masque", "sub": subject, "iat": now(), "exp": now() + 3600, "scope": "chat",
    });
    claims.as_object().unwrap().clone()
}

/// Returns these claims with changes. `null` removes a claim.
pub fn claims_with(subject: &str, changes: Value) -> Map<String, Value> {
    let mut claims = claims(subject);
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.clone(), value.clone());
        }
    }
    claims
}

/// Makes a token of the host, signed with [`SECRET`].
pub fn token(claims: &Map<String, Value>) -> String {
    signed_token(&json!({ "alg": "HS256", "typ": "JWT" }), claims, SECRET)
}

/// Makes a token with this header, signed with HMAC-SHA256 whatever the header says.
pub fn signed_token(header: &Value, claims: &Map<String, Value>, secret: &str) -> String {
    let message = signing_input(&header.to_string(), &Value::Object(claims.clone()).to_string());
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

/// Makes the part of a token that is signed. Header and payload need not be valid JSON.
pub fn signing_input(header: &str, payload: &str) -> String {
    format!("{}.{}", base64url(header), base64url(payload))
}

/// Signs with HMAC-SHA256.
pub fn hmac(signing_input: &str, secret: &[u8]) -> String {
    crypto::sign(signing_input.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256).unwrap()
}

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut encoded = String::new();
    for chunk in bytes.as_ref().chunks(3) {
        let mut group = [0_u8; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for digit in 0..=chunk.len() {
            encoded.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    encoded
}

/// Seconds since the Unix epoch.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

impl Setup {
    /// A host with users: authentication with a shared secret, and rate limits that no test reaches.
    pub fn with_authentication(self) -> Self {
        self.environment("JWT_SECRET_KEY", SECRET)
            .and("[limits.user]\nper_minute = 1000000\nburst = 1000000\n[limits.address]\nper_minute = 1000000\nburst = 1000000\n")
    }

    /// Runs `masque keys create` and returns the new key.
    pub async fn create_key(&self, words: &[&str]) -> String {
        let data = self.data().to_str().unwrap().to_owned();
        let command = [&["keys", "create", "test", "--data", &data], words].concat();
        let output = self.run(&command).await;
        assert!(output.status.success(), "{}", output.text);
        let key = output.text.split_whitespace().find(|word| word.starts_with("msq_"));
        key.unwrap_or_else(|| panic!("no key in {}", output.text)).to_owned()
    }
}

/// A private key of an identity provider.
pub struct SigningKey {
    pub kid: String,
    algorithm: Algorithm,
    encoding: EncodingKey,
    /// The public key as a JWK without `kid`.
    public: Value,
}

impl SigningKey {
    pub fn rsa(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let encoding = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::new(kid, Algorithm::RS256, encoding)
    }

    pub fn p256(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let encoding = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::new(kid, Algorithm::ES256, encoding)
    }

    pub fn ed25519(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let encoding = EncodingKey::from_ed_der(&pair.serialize_der());
        let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key_raw()) });
        Self { kid: kid.to_owned(), algorithm: Algorithm::EdDSA, encoding, public }
    }

    fn new(kid: &str, algorithm: Algorithm, encoding: EncodingKey) -> Self {
        let public = serde_json::to_value(Jwk::from_encoding_key(&encoding, algorithm).unwrap()).unwrap();
        Self { kid: kid.to_owned(), algorithm, encoding, public }
    }

    /// Returns the public key as a provider publishes it.
    pub fn jwk(&self) -> Value {
        let mut jwk = self.public.clone();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// Makes a token with the header of this key.
    pub fn token(&self, claims: &Map<String, Value>) -> String {
        self.token_with(
            json!({ "alg": format!("{:?}", self.algorithm), "kid": self.kid, "typ": "JWT" }),
            claims,
        )
    }

    pub fn token_with(&self, header: Value, claims: &Map<String, Value>) -> String {
        let message = signing_input(&header.to_string(), &Value::Object(claims.clone()).to_string());
        let signature = crypto::sign(message.as_bytes(), &self.encoding, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

/// An identity provider: a server that publishes keys.
pub struct IdentityProvider {
    pub issuer: String,
    state: Arc<Mutex<Published>>,
    server: AbortHandle,
}

#[derive(Default)]
struct Published {
    keys: Vec<Value>,
    fetch_count: usize,
    unavailable: bool,
}

impl IdentityProvider {
    pub async fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(Published::default()));
        let server = tokio::spawn(serve(listener, issuer.clone(), Arc::clone(&state))).abort_handle();
        let provider = Self { issuer, state, server };
        provider.publish(keys);
        provider
    }

    /// Replaces the published keys.
    pub fn publish(&self, keys: &[&SigningKey]) {
        self.publish_raw(keys.iter().map(|key| key.jwk()).collect());
    }

    pub fn publish_raw(&self, keys: Vec<Value>) {
        self.state.lock().unwrap().keys = keys;
    }

    /// Sets whether the provider answers with 503.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.state.lock().unwrap().unavailable = unavailable;
    }

    /// Returns how often the keys were fetch_count.
    pub fn fetch_count(&self) -> usize {
        self.state.lock().unwrap().fetch_count
    }

    /// Returns the claims of a valid token of this provider.
    pub fn claims(&self, subject: &str) -> Map<String, Value> {
        claims_with(subject, json!({ "iss": self.issuer }))
    }

    /// Returns the table `[auth.issuers.test]` of the configuration, with further lines.
    pub fn section(&self, more: &str) -> String {
        format!("[auth.issuers.test]\nissuer = \"{}\"\naudience = \"masque\"\n{more}\n", self.issuer)
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, issuer: String, state: Arc<Mutex<Published>>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { return };
        let (issuer, state) = (issuer.clone(), Arc::clone(&state));
        let service = service_fn(move |request: Request<Incoming>| {
            let response = answer(request.uri().path(), &issuer, &state);
            async move { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
        );
    }
}

fn answer(path: &str, issuer: &str, state: &Mutex<Published>) -> Response<Full<Bytes>> {
    let mut state = state.lock().unwrap();
    let (status, body) = match path {
        _ if state.unavailable => (503, Value::Null),
        "/.well-known/openid-configuration" => {
            (200, json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") }))
        }
        "/keys" => {
            state.fetch_count += 1;
            (200, json!({ "keys": state.keys }))
        }
        _ => (404, Value::Null),
    };
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(body.to_string().into())).unwrap()
}
