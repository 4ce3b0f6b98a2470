//! Outgoing requests: grants, credentials and redirects.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed precondition fails the test")]

use std::sync::Arc;

use masque_grants::{Credential, Grants, Limits, Secret};

use crate::fixtures::{Upstream, composed, persona};

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_opens_its_origin_but_no_other_name_of_this_machine() {
    let upstream = Upstream::answering("open").await;
    let grants = Grants { http: vec![upstream.origin().parse().unwrap()], ..Grants::default() };
    let plugin = persona("uses-what-it-can", grants, Limits::default()).await;
    assert_eq!(composed(&plugin, &format!("get {}", upstream.url())).await, "200 open");
    let port = upstream.port();
    for host in ["localhost", "127.1", "[::ffff:127.0.0.1]", "0x7f.1", "127.0.0.1.nip.invalid"] {
        let said = composed(&plugin, &format!("get http://{host}:{port}/")).await;
        assert!(said.starts_with("denied"), "{host}: {said}");
    }
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_reaches_its_origin_and_never_the_guest() {
    let said = echoed("authorization", "Bearer sk-very-secret").await;
    assert!(said.contains("[redacted]") && !said.contains("sk-very-secret"), "{said}");
}

/// What a persona with this credential receives from an upstream that echoes the head of the request. The upstream receives the
/// credential.
async fn echoed(header: &str, value: &str) -> String {
    let upstream = Upstream::echoing().await;
    let secret = Secret::from(value.to_owned());
    let credential = Credential::new("key".into(), &upstream.origin(), header, &secret).unwrap();
    let grants = Grants {
        http: vec![upstream.origin().parse().unwrap()],
        credentials: vec![Arc::new(credential)],
        ..Grants::default()
    };
    let plugin = persona("uses-what-it-can", grants, Limits::default()).await;
    let said = composed(&plugin, &format!("get {}", upstream.url())).await;
    let seen = upstream.last_request();
    assert!(seen.contains(&format!("{header}: {}\r\n", value.trim())), "{seen}");
    assert!(seen.contains("accept-encoding: identity\r\n"), "{seen}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn no_part_of_a_credential_comes_back_to_the_guest() {
    for (header, value, secrets) in [
        ("authorization", "Bearer sk-very-secret ", &["sk-very-secret"][..]),
        ("cookie", "session=0123456789; theme=x", &["0123456789"]),
        ("cookie", "theme=x; session=0123456789; csrf=abcdefghij", &["0123456789", "abcdefghij"]),
        ("x-keys", "first-of-two, second-of-two", &["first-of-two", "second-of-two"]),
        ("authorization", "Basic aWRhOnZlcnktc2VjcmV0", &["aWRhOnZlcnktc2VjcmV0"]),
    ] {
        let said = echoed(header, value).await;
        assert!(said.starts_with("200") && said.contains("[redacted]"), "{said}");
        for secret in secrets {
            assert!(!said.contains(secret), "{value}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_answer_to_a_request_with_a_credential_is_refused() {
    let upstream = Upstream::compressing().await;
    let secret = Secret::from("Bearer sk-very-secret".to_owned());
    let credential = Credential::new("key".into(), &upstream.origin(), "authorization", &secret).unwrap();
    let open = Grants { http: vec![upstream.origin().parse().unwrap()], ..Grants::default() };
    let get = format!("get {}", upstream.url());
    let without = persona("uses-what-it-can", open.clone(), Limits::default()).await;
    assert!(composed(&without, &get).await.starts_with("200"));
    let grants = Grants { credentials: vec![Arc::new(credential)], ..open };
    let with = persona("uses-what-it-can", grants, Limits::default()).await;
    let said = composed(&with, &get).await;
    assert!(
        !said.starts_with("200") && said.to_lowercase().replace('-', "").contains("contentcoding"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let upstream = Upstream::redirecting().await;
    let grants = Grants { http: vec![upstream.origin().parse().unwrap()], ..Grants::default() };
    let plugin = persona("uses-what-it-can", grants, Limits::default()).await;
    assert!(composed(&plugin, &format!("get {}", upstream.url())).await.starts_with("302"));
    assert_eq!(upstream.requests(), 1);
}
