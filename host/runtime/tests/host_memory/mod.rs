//! What the host holds for a guest, and what a guest may write to its state.

use masque_grants::{Grants, Limits};
use masque_runtime::{Call, CallError, Cause, PluginStateScope};

use crate::capabilities::InMemoryCapabilities;
use crate::fixtures::{Upstream, call, composed, no_recollection, persona, plugin_in, sandbox, turn};

/// Lets a persona hoard `count` things, which `behaviour` names.
async fn hoard(
    behaviour: &str,
    count: usize,
    grants: Grants,
    limits: Limits,
    call: Call,
) -> Result<(), CallError> {
    let settings = format!(r#"{{"behaviour": "{behaviour}", "count": {count}}}"#);
    let plugin = plugin_in(&sandbox(), "breaks-a-call", &settings, grants, limits).await;
    plugin.compose(call, &turn("hello"), no_recollection()).await.map(|_prompt| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_guest_makes_the_host_hold_counts_towards_one_limit() {
    let limits = || Limits { host_memory_bytes: 4 << 20, ..Limits::default() };
    for (behaviour, few, many) in [
        ("fills-headers", 20, 70),
        ("hoards-unsent-bodies", 15, 25),
        ("fills-trailers", 15, 25),
        ("hoards-methods", 3, 6),
        ("hoards-paths", 50, 80),
    ] {
        hoard(behaviour, few, Grants::default(), limits(), call()).await.unwrap();
        let error = hoard(behaviour, many, Grants::default(), limits(), call()).await.unwrap_err();
        let named =
            matches!(&error.cause, Cause::HostResources(reason) if reason.contains("limit `host_memory`"));
        assert!(named, "{behaviour}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_with_more_headers_than_allowed_does_not_reach_the_guest() {
    let said = async |bytes: usize| {
        let upstream = Upstream::with_header(bytes).await;
        let grants = Grants { http: vec![upstream.origin().parse().unwrap()], ..Grants::default() };
        let plugin = persona("uses-what-it-can", grants, Limits::default()).await;
        let said = composed(&plugin, &format!("get {}", upstream.url())).await;
        assert_eq!(upstream.requests(), 1);
        said
    };
    assert_eq!(said(60 << 10).await, "200 open");
    let refused = said(70 << 10).await;
    assert!(refused.contains("HeaderSectionSize"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_writes_no_more_than_its_limits_to_its_state() {
    let grants = || Grants { state: true, ..Grants::default() };
    let state = InMemoryCapabilities::with_history(0);
    let few = Limits { state_writes: 10, ..Limits::default() };
    hoard("rewrites-its-state", 10, grants(), few.clone(), state.call()).await.unwrap();
    let error = hoard("rewrites-its-state", 20, grants(), few, state.call()).await.unwrap_err();
    assert!(error.to_string().contains("limit `state_writes`"), "{error}");
    assert_eq!(state.bytes(PluginStateScope::User, "one"), 9_usize.to_le_bytes()[..4]);

    let little = Limits { state_write_bytes: 1 << 20, ..Limits::default() };
    let error = hoard("fills-its-state", 20, grants(), little, state.call()).await.unwrap_err();
    assert!(error.to_string().contains("limit `state_write_bytes`"), "{error}");
}
