//! Outgoing requests: grants, credentials and redirects.

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
    let upstream = Upstream::echoing().await;
    let secret = Secret::from("Bearer sk-very-secret".to_owned());
    let credential = Credential::new("key".into(), &upstream.origin(), "authorization", &secret).unwrap();
    let grants = Grants {
        http: vec![upstream.origin().parse().unwrap()],
        credentials: vec![Arc::new(credential)],
        ..Grants::default()
    };
    let plugin = persona("uses-what-it-can", grants, Limits::default()).await;
    let said = composed(&plugin, &format!("get {}", upstream.url())).await;
    assert!(
        upstream.last_request().contains("authorization: Bearer sk-very-secret"),
        "{}",
        upstream.last_request()
    );
    assert!(said.contains("[redacted]") && !said.contains("sk-very-secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let upstream = Upstream::redirecting().await;
    let grants = Grants { http: vec![upstream.origin().parse().unwrap()], ..Grants::default() };
    let plugin = persona("uses-what-it-can", grants, Limits::default()).await;
    assert!(composed(&plugin, &format!("get {}", upstream.url())).await.starts_with("302"));
    assert_eq!(upstream.requests(), 1);
}
