//! What admission costs, measured over its real parts: a token verified, what is known of revocations asked, two buckets
//! taken from. `cargo xtask bench admission` runs it in release code; nothing here can fail by being slow.
#![allow(clippy::print_stdout, reason = "a measurement is read by whoever runs it")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use masque_store::{ApiKeys as _, AuditEntry, AuditOutcome, InProcessRateLimits};
use masque_store_sqlite::SqliteStore;

use super::token::{Tokens, Wish};
use super::*;
use crate::config::{self, Allowance, Environment, Flags};
use crate::limits::Limits;

const SECRET: &str = "pS0bXq7s0pGJx5m1cVYwN2v8dLr4TzKeHfUaQ3oW6Rg=";
/// The median of these is what counts.
const ROUNDS: usize = 15;
const EACH: u32 = 20_000;

#[tokio::test]
#[ignore = "a measurement: `cargo xtask bench admission`"]
async fn admission() {
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment::from_pairs([("JWT_SECRET_KEY".into(), SECRET.into())]);
    let config = config::load(&Flags::default(), &environment, folder.path()).unwrap().config;
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let wanted = Wanted {
        name: "measured".into(),
        scopes: vec!["tokens:mint".into(), "chat".into()],
        ..Wanted::default()
    };
    let (key, new) = wanted.key("cli".into(), SystemTime::now()).unwrap();
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
    let tokens = Tokens::new(&config.auth).unwrap();
    let identity = Identity::open(Arc::clone(&tokens), store).await.unwrap();
    let plenty = NonZeroU32::new(1_000_000_000).unwrap();
    let quota = Some(config::Quota { per_minute: plenty, burst: plenty });
    let allowance = Allowance { user: quota, address: quota, turns: None, tokens_per_day: None };
    let limits = Limits::new(allowance, Arc::new(InProcessRateLimits::default()));

    let wish = Wish {
        subject: "ana".into(),
        tenant: DEFAULT_TENANT.into(),
        scopes: vec!["chat".into()],
        client_id: Some(key.id.to_string()),
        lifetime: Duration::from_secs(3600),
    };
    let token = tokens.mint(&wish).unwrap().token;
    let request = http::Request::get("/chat").header("authorization", format!("Bearer {token}"));
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let address = std::net::IpAddr::from([127, 0, 0, 1]);

    let mut figures: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..EACH {
            black_box(identity.authenticate(black_box(&parts)).await.unwrap());
        }
        figures.entry("a token verified").or_default().push(micros(begun));
        let principal = identity.authenticate(&parts).await.unwrap();
        let begun = Instant::now();
        for _ in 0..EACH {
            black_box(limits.address(black_box(address)).await);
            black_box(limits.user(black_box(&principal.owner)).await);
        }
        figures.entry("two buckets").or_default().push(micros(begun));
        let begun = Instant::now();
        for _ in 0..EACH {
            black_box(limits.address(black_box(address)).await);
            let principal = identity.authenticate(black_box(&parts)).await.unwrap();
            black_box(limits.user(&principal.owner).await);
        }
        figures.entry("admission").or_default().push(micros(begun));
    }
    for (name, mut rounds) in figures {
        rounds.sort_by(f64::total_cmp);
        let (least, median, most) = (rounds[0], rounds[ROUNDS / 2], rounds[ROUNDS - 1]);
        println!("{name:<18} {median:6.2} µs  ({least:.2} to {most:.2} in {ROUNDS} rounds)");
    }
}

fn micros(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(EACH)
}
