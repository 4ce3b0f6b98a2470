//! What the admission of a request costs, over its real parts: a token is verified and checked against the security
//! snapshot, and two rate limits are taken from. Run by `cargo xtask bench admission`.
#![allow(clippy::print_stdout, reason = "the figures are for whoever runs the benchmark")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark stops at the first error")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use masque_auth::limits::{LimitOptions, UsageLimiter};
use masque_auth::{
    Authenticator as _, DEFAULT_TENANT, Identity, NewKeyRequest, SigningOptions, SigningSecret, TokenOptions,
    TokenRequest, Tokens,
};
use masque_store::{ApiKeys as _, AuditEntry, AuditOutcome, InProcessRateLimits, Quota};
use masque_store_sqlite::SqliteStore;

const SECRET: &str = "pS0bXq7s0pGJx5m1cVYwN2v8dLr4TzKeHfUaQ3oW6Rg=";
/// The median round is reported, with the fastest and the slowest.
const ROUNDS: usize = 15;
const REQUESTS_PER_ROUND: u32 = 20_000;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let request = NewKeyRequest {
        name: "benchmark".into(),
        scopes: vec!["tokens:mint".into(), "chat".into()],
        ..NewKeyRequest::default()
    };
    let (key, new) = request.issue("cli".into(), SystemTime::now()).unwrap();
    let entry = AuditEntry {
        tenant: DEFAULT_TENANT.into(),
        actor: "cli".into(),
        action: "key.create".into(),
        target: None,
        outcome: AuditOutcome::Ok,
        request_id: None,
        address: None,
        detail: serde_json::Value::Null,
    };
    store.create_key(new, entry).await.unwrap();
    let tokens = Tokens::open(token_options()).unwrap();
    let identity = Identity::open(Arc::clone(&tokens), store).await.unwrap();
    let plenty = NonZeroU32::new(1_000_000_000).unwrap();
    let quota = Some(Quota { per_minute: plenty, burst: plenty });
    let options = LimitOptions { user: quota, address: quota, tokens_per_day: None };
    let limits = UsageLimiter::new(options, Arc::new(InProcessRateLimits::default()));

    let request = TokenRequest {
        subject: "ana".into(),
        tenant: DEFAULT_TENANT.into(),
        scopes: vec!["chat".into()],
        client_id: Some(key.id.to_string()),
        lifetime: Duration::from_secs(3600),
    };
    let token = tokens.mint(&request).unwrap().token;
    let request = http::Request::get("/chat").header("authorization", format!("Bearer {token}"));
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let address = IpAddr::from([127, 0, 0, 1]);

    let mut figures: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..REQUESTS_PER_ROUND {
            black_box(identity.authenticate(black_box(&parts)).await.unwrap());
        }
        figures.entry("a token verified").or_default().push(micros_per_request(started));
        let principal = identity.authenticate(&parts).await.unwrap();
        let started = Instant::now();
        for _ in 0..REQUESTS_PER_ROUND {
            black_box(limits.take(black_box(Some(address)), black_box(Some(&principal))).await);
        }
        figures.entry("two buckets").or_default().push(micros_per_request(started));
        let started = Instant::now();
        for _ in 0..REQUESTS_PER_ROUND {
            let principal = identity.authenticate(black_box(&parts)).await.unwrap();
            black_box(limits.take(black_box(Some(address)), Some(&principal)).await);
        }
        figures.entry("admission").or_default().push(micros_per_request(started));
    }
    for (name, mut rounds) in figures {
        rounds.sort_by(f64::total_cmp);
        let (fastest, median, slowest) = (rounds[0], rounds[ROUNDS / 2], rounds[ROUNDS - 1]);
        println!("{name:<18} {median:6.2} µs  ({fastest:.2} to {slowest:.2} in {ROUNDS} rounds)");
    }
}

fn token_options() -> TokenOptions {
    let secret = SigningSecret { kid: None, bytes: SECRET.into(), weakness: None };
    TokenOptions {
        issuer: "masque".into(),
        audience: "masque".into(),
        leeway: Duration::from_secs(30),
        default_lifetime: Duration::from_secs(3600),
        max_lifetime: Duration::from_secs(24 * 3600),
        signing: Some(SigningOptions { secrets: vec![secret], source: None }),
        issuers: Vec::new(),
    }
}

fn micros_per_request(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e6 / f64::from(REQUESTS_PER_ROUND)
}
