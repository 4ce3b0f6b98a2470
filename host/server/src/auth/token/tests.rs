//! Tokens against the clock, by their secrets and by what a host makes itself. What is forged is told apart over real
//! sockets, in the end-to-end tests.

use serde_json::json;

use super::*;
use crate::config::{self, Environment, Flags};

const SECRET: &str = "pS0bXq7s0pGJx5m1cVYwN2v8dLr4TzKeHfUaQ3oW6Rg=";

fn auth(pairs: &[(&str, &str)], toml: &str) -> (config::Auth, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("masque.toml"), toml).unwrap();
    let pairs = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let loaded = config::load(&Flags::default(), &Environment::from_pairs(pairs), folder.path()).unwrap();
    (loaded.config.auth, folder)
}

fn wish() -> Wish {
    Wish {
        subject: "ana".into(),
        tenant: "acme".into(),
        scopes: vec!["chat".into()],
        client_id: Some("0123456789abcdef".into()),
        lifetime: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn a_token_is_good_from_its_making_to_its_end() {
    let (auth, _folder) = auth(&[("JWT_SECRET_KEY", SECRET)], "[auth]\nleeway = \"5s\"");
    let tokens = Tokens::new(&auth).unwrap();
    let minted = tokens.mint(&wish()).unwrap();
    assert_eq!(minted.expires_in, Duration::from_secs(60));
    let made = now();
    let verified = tokens.verify_at(&minted.token, made).await.unwrap();
    assert_eq!((verified.subject.as_str(), verified.tenant.as_str(), verified.own), ("ana", "acme", true));
    assert_eq!((verified.scopes, verified.jti), (vec!["chat".to_owned()], Some(minted.jti)));
    assert_eq!(verified.client_id.as_deref(), Some("0123456789abcdef"));
    for (after, expected) in [
        (-7, Err(Refused::NotYetValid)),
        (-4, Ok(())),
        (59, Ok(())),
        (64, Ok(())),
        (66, Err(Refused::Expired)),
        (1_000_000, Err(Refused::Expired)),
    ] {
        let judged = tokens.verify_at(&minted.token, made + after).await;
        assert_eq!(judged.map(drop), expected, "after {after} s");
    }
}

#[tokio::test]
async fn secrets_follow_one_another_with_an_overlap() {
    let set = |kids: &[&str]| {
        let keys = kids
            .iter()
            .map(|kid| json!({ "kty": "oct", "kid": kid, "k": format!("{kid}{SECRET}").replace('=', "") }));
        json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secrets.json");
    std::fs::write(&file, set(&["old0"])).unwrap();
    let (auth, _folder) = auth(&[("JWT_SECRET_KEY_FILE", file.to_str().unwrap())], "");
    let tokens = Tokens::new(&auth).unwrap();
    let secrets = tokens.own.secrets.as_ref().unwrap();
    let old = tokens.mint(&wish()).unwrap().token;

    // One look may have met a file that is being written.
    std::fs::write(&file, set(&["new0", "old0"])).unwrap();
    secrets.look().await;
    assert_eq!(tokens.mint(&wish()).unwrap().token.split('.').next(), old.split('.').next());
    secrets.look().await;
    let new = tokens.mint(&wish()).unwrap().token;
    for token in [&old, &new] {
        tokens.verify(token).await.unwrap();
    }
    // A file that is broken for a moment takes nothing away.
    std::fs::write(&file, "{").unwrap();
    secrets.look().await;
    tokens.verify(&new).await.unwrap();

    // Nor is a secret taken that nobody should rely on.
    std::fs::write(&file, "secret").unwrap();
    for _ in 0..3 {
        secrets.look().await;
    }
    tokens.verify(&new).await.unwrap();

    std::fs::write(&file, set(&["new0"])).unwrap();
    secrets.look().await;
    secrets.look().await;
    assert_eq!(tokens.verify(&old).await.map(drop), Err(Refused::UnknownKey));
    tokens.verify(&new).await.unwrap();
}

#[tokio::test]
async fn without_a_secret_there_are_no_tokens_of_ones_own() {
    let (signing, _folder) = auth(&[("JWT_SECRET_KEY", SECRET)], "");
    let token = Tokens::new(&signing).unwrap().mint(&wish()).unwrap().token;
    let (keyless, _folder) = auth(&[("REQUIRE_AUTHENTICATION", "true")], "");
    let tokens = Tokens::new(&keyless).unwrap();
    assert!(tokens.mint(&wish()).is_err());
    assert_eq!(tokens.verify(&token).await.map(drop), Err(Refused::UnknownIssuer));
}
