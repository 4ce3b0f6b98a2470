//! Tokens, valid and forged, made without the host's own code; and an identity provider that publishes keys and changes
//! them.

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

/// A strong signing secret, as `openssl rand -base64 32` prints it.
pub const SECRET: &str = "pS0bXq7s0pGJx5m1cVYwN2v8dLr4TzKeHfUaQ3oW6Rg=";

/// The claims of a valid token of a host with [`SECRET`].
pub fn claims(subject: &str) -> Map<String, Value> {
    let claims = json!({
        "iss": "masque", "aud": "masque", "sub": subject, "iat": now(), "exp": now() + 600, "scope": "chat",
    });
    claims.as_object().unwrap().clone()
}

/// The claims of a valid token with these members changed; `null` removes one.
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

/// A token with these claims, signed with [`SECRET`] as the host signs its own.
pub fn token(claims: &Map<String, Value>) -> String {
    signed_token(&json!({ "alg": "HS256", "typ": "JWT" }), claims, SECRET)
}

/// A token with this header, signed with HMAC-SHA-256 whatever algorithm the header names.
pub fn signed_token(header: &Value, claims: &Map<String, Value>, secret: &str) -> String {
    let input = signing_input(&header.to_string(), &Value::Object(claims.clone()).to_string());
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = crypto::sign(input.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{input}.{signature}")
}

/// The part of a token that is signed (RFC 7515, section 2: JWS Signing Input). The texts need not be valid JSON.
pub fn signing_input(header: &str, payload: &str) -> String {
    format!("{}.{}", base64url(header), base64url(payload))
}

/// The HMAC-SHA-256 signature of a signing input, in base64url.
pub fn hmac(signing_input: &str, secret: &[u8]) -> String {
    crypto::sign(signing_input.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256).unwrap()
}

/// Encodes in base64url without padding (RFC 4648, section 5).
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
    /// A host with authentication by [`SECRET`], and rate limits so high that they apply only if the test sets others.
    pub fn with_authentication(self) -> Self {
        self.environment("JWT_SECRET_KEY", SECRET)
            .and("[limits.user]\nper_minute = 1000000\nburst = 1000000\n[limits.address]\nper_minute = 1000000\nburst = 1000000\n")
    }

    /// Runs `masque keys create` with these options and returns the key that it prints.
    pub async fn create_key(&self, options: &[&str]) -> String {
        let data = self.data().to_str().unwrap().to_owned();
        let command = [&["keys", "create", "test", "--data", &data], options].concat();
        let outcome = self.run(&command).await;
        assert!(outcome.status.success(), "{}", outcome.text);
        let key = outcome.text.split_whitespace().find(|word| word.starts_with("msq_"));
        key.unwrap_or_else(|| panic!("no key in {}", outcome.text)).to_owned()
    }
}

/// A key pair that an identity provider signs with.
pub struct SigningKey {
    pub kid: String,
    algorithm: Algorithm,
    encoding: EncodingKey,
    /// The public key as a JWK without `kid`.
    public: Value,
}

impl SigningKey {
    /// A new RSA key for RS256.
    pub fn rsa(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let encoding = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::new(kid, Algorithm::RS256, encoding)
    }

    /// A new P-256 key for ES256.
    pub fn p256(kid: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let encoding = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self::new(kid, Algorithm::ES256, encoding)
    }

    /// A new Ed25519 key for EdDSA.
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

    /// The public key as a provider publishes it.
    pub fn jwk(&self) -> Value {
        let mut jwk = self.public.clone();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token signed with the key, with the matching header.
    pub fn token(&self, claims: &Map<String, Value>) -> String {
        self.token_with(
            json!({ "alg": format!("{:?}", self.algorithm), "kid": self.kid, "typ": "JWT" }),
            claims,
        )
    }

    /// A token signed with the key, with another header.
    pub fn token_with(&self, header: Value, claims: &Map<String, Value>) -> String {
        let input = signing_input(&header.to_string(), &Value::Object(claims.clone()).to_string());
        let signature = crypto::sign(input.as_bytes(), &self.encoding, self.algorithm).unwrap();
        format!("{input}.{signature}")
    }
}

/// A server that publishes keys and the metadata that names their URL. Stops when it is dropped.
pub struct IdentityProvider {
    pub issuer: String,
    state: Arc<Mutex<Published>>,
    server: AbortHandle,
}

#[derive(Default)]
struct Published {
    keys: Vec<Value>,
    fetch_count: usize,
    is_away: bool,
}

impl IdentityProvider {
    /// Starts a provider that publishes these keys.
    pub async fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(Published::default()));
        let server = tokio::spawn(serve(listener, issuer.clone(), Arc::clone(&state))).abort_handle();
        let provider = Self { issuer, state, server };
        provider.publish(keys);
        provider
    }

    /// Publishes these keys in place of all others.
    pub fn publish(&self, keys: &[&SigningKey]) {
        self.publish_raw(keys.iter().map(|key| key.jwk()).collect());
    }

    /// Publishes these JWKs in place of all others.
    pub fn publish_raw(&self, keys: Vec<Value>) {
        self.state.lock().unwrap().keys = keys;
    }

    /// Whether the provider answers every request with 503 from now on.
    pub fn set_away(&self, is_away: bool) {
        self.state.lock().unwrap().is_away = is_away;
    }

    /// How often the keys were fetched.
    pub fn fetch_count(&self) -> usize {
        self.state.lock().unwrap().fetch_count
    }

    /// The claims of a valid token of this provider.
    pub fn claims(&self, subject: &str) -> Map<String, Value> {
        claims_with(subject, json!({ "iss": self.issuer }))
    }

    /// The section of the configuration that trusts this provider, with further lines.
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
        _ if state.is_away => (503, Value::Null),
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
