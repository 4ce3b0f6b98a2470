//! Attempts to use what was not granted: other origins and addresses, sockets, files, and the host's own interfaces.

use masque_tests::{BackgroundClient, Baseline, Host, Setup, Upstream, fixture};
use serde_json::json;

const COMPANIONS: &str =
    "[turn]\nlog_ttl = \"1s\"\n\n[companions.elara]\npersona = \"elara\"\nmodels = [\"offline\"]\n";

/// The tables of the plugin `name`, which sends the request that a message names, and of a companion of the same name whose
/// persona it is.
pub(super) fn requester(name: &str, entry: &str) -> String {
    let source = fixture("reaches-out");
    format!(
        "[companions.{name}]\npersona = \"{name}\"\nmodels = [\"offline\"]\n\n[plugins.{name}]\nsource = {source:?}\n{entry}\n"
    )
}

/// Lets the plugin `name` make an attempt. Asserts that it fails with an error that names the plugin and has the words
/// `missing`.
pub(super) async fn assert_denied(host: &Host, name: &str, attempt: &str, missing: &[&str]) {
    let body = json!({ "message": attempt, "companion": name });
    let answer = host.client().chat(&body).send().await;
    assert_eq!(answer.status, 500, "{attempt}: {}", answer.text);
    answer.problem(500, "plugin-failed");
    let plugin = format!("plugin `{name}`");
    host.logged_in_one_line(&[&[plugin.as_str(), "compose: "], missing].concat()).await;
}

/// Lets the plugin `name` make an attempt. Asserts that it succeeds.
pub(super) async fn assert_allowed(host: &Host, name: &str, attempt: &str) {
    let body = json!({ "message": attempt, "companion": name });
    host.client().chat(&body).send().await.expect(200);
}

#[tokio::test]
async fn only_the_granted_origin_method_and_path_is_reached() {
    let (granted, other) = (Upstream::answering("open").await, Upstream::answering("closed").await);
    let (port, other_port) = (granted.port(), other.port());
    // Other spellings of this machine's addresses, and private addresses. Their `http` grant is not enough: they also need a
    // `networks` grant.
    let spellings = [
        format!("http://127.1:{port}"),
        format!("http://2130706433:{port}"),
        format!("http://0x7f000001:{port}"),
        format!("http://017700000001:{port}"),
        format!("http://0:{port}"),
        format!("http://0.0.0.0:{port}"),
        format!("http://[::]:{port}"),
        format!("http://[::127.0.0.1]:{port}"),
        format!("http://[64:ff9b::7f00:1]:{port}"),
        format!("http://[2002:7f00:1::]:{port}"),
        format!("http://10.0.0.1:{port}"),
        format!("http://[::ffff:10.0.0.1]:{port}"),
        "http://169.254.169.254".to_owned(),
        "http://[::ffff:169.254.169.254]".to_owned(),
        "http://[fd00:ec2::254]".to_owned(),
        "http://100.100.100.200".to_owned(),
    ];
    let origins: Vec<_> = spellings.iter().map(|origin| format!("{origin:?}")).collect();
    let host = Setup::file(COMPANIONS)
        .and(&requester("requester", &format!("grants.http = [\"GET {}/open/\"]", granted.origin())))
        .and(&requester("other-spellings", &format!("grants.http = [{}]", origins.join(", "))))
        .start()
        .await;
    assert_allowed(&host, "requester", &format!("GET {}/open/door", granted.origin())).await;
    assert_eq!(granted.seen().len(), 1);
    let baseline = Baseline::of(&host).await;
    let background_client = BackgroundClient::start(host.client(), super::HEALTHY_COMPANION).await;

    for url in [
        // Another port, method, path or scheme.
        format!("GET http://127.0.0.1:{other_port}/open/"),
        format!("POST http://127.0.0.1:{port}/open/"),
        format!("GET http://127.0.0.1:{port}/"),
        format!("GET http://127.0.0.1:{port}/opener"),
        format!("GET http://127.0.0.1:{port}/open/../closed"),
        format!("GET http://127.0.0.1:{port}/open/%2e%2E/closed"),
        format!("GET http://127.0.0.1:{port}/open/..%2fclosed"),
        format!("GET https://127.0.0.1:{port}/open/"),
        // The same machine under another name or address, and other machines.
        format!("GET http://localhost:{port}/open/"),
        format!("GET http://127.1:{port}/open/"),
        format!("GET http://127.0.0.2:{port}/open/"),
        format!("GET http://2130706433:{port}/open/"),
        format!("GET http://0x7f000001:{port}/open/"),
        format!("GET http://017700000001:{port}/open/"),
        format!("GET http://0.0.0.0:{port}/open/"),
        format!("GET http://0:{port}/open/"),
        format!("GET http://[::1]:{port}/open/"),
        format!("GET http://[::]:{port}/open/"),
        format!("GET http://[::ffff:127.0.0.1]:{port}/open/"),
        format!("GET http://[::ffff:7f00:1]:{port}/open/"),
        format!("GET http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/open/"),
        "GET http://169.254.169.254/latest/meta-data/".to_owned(),
        "GET http://example.com/".to_owned(),
    ] {
        let origin = url.split(' ').nth(1).unwrap().split('/').nth(2).unwrap();
        // The error may spell an IPv6 address differently.
        let named = if origin.starts_with('[') { "[" } else { origin };
        assert_denied(&host, "requester", &url, &[named, "needs an `http` grant"]).await;
    }
    for origin in &spellings {
        let named = if origin.contains('[') { "[" } else { origin };
        assert_denied(
            &host,
            "other-spellings",
            &format!("GET {origin}/"),
            &[named, "needs a `networks` grant"],
        )
        .await;
    }

    background_client.finish("requests without a grant").await;
    assert_eq!((granted.seen().len(), other.seen().len()), (1, 0), "a denied request arrived");
    baseline.returns(&host).await;
}

#[tokio::test]
async fn the_host_does_not_follow_redirects() {
    let target = Upstream::answering("closed").await;
    let redirecting = Upstream::redirecting_to(&format!("{}/", target.origin())).await;
    let grants = format!("grants.http = [\"{}\"]", redirecting.origin());
    let host = Setup::file(COMPANIONS).and(&requester("requester", &grants)).start().await;
    assert_allowed(&host, "requester", &format!("GET {}/", redirecting.origin())).await;
    assert_eq!((redirecting.seen().len(), target.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_credential_replaces_the_guests_own_header_and_reaches_no_other_origin() {
    let (keyed, other) = (Upstream::answering("open").await, Upstream::answering("open").await);
    let entry = format!(
        "settings.authorization = \"Bearer its-own\"\ngrants = {{ http = [\"{}\"], credentials = [\"key\"] }}\n\n[credentials.key]\norigin = \"{}\"\nheader = \"authorization\"\nvalue = \"Bearer the-hosts-own\"\n",
        keyed.origin(),
        keyed.origin()
    );
    let host = Setup::file(COMPANIONS).and(&requester("with-credential", &entry)).start().await;

    assert_allowed(&host, "with-credential", &format!("GET {}/", keyed.origin())).await;
    assert_denied(&host, "with-credential", &format!("GET {}/", other.origin()), &["needs an `http` grant"])
        .await;

    let head = keyed.seen().join("").to_lowercase();
    assert!(head.contains("authorization: bearer the-hosts-own"), "{head}");
    assert_eq!(head.matches("authorization").count(), 1, "{head}");
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_capability_without_its_grant_is_denied_and_the_grant_is_named() {
    let upstream = Upstream::answering("closed").await;
    let host = Setup::file(COMPANIONS).and(&requester("requester", "")).start().await;
    for (attempt, missing) in [
        ("state visits", "the grant `state` is missing"),
        ("shared visits", "the grant `state` is missing"),
        ("history 5", "the grant `history` is missing"),
        ("ask anything", "the grant `models` is missing"),
    ] {
        assert_denied(&host, "requester", attempt, &["`denied`", missing]).await;
    }
    // Sockets, name lookups and files of the machine are never available: no grant allows them.
    let port = upstream.port();
    for attempt in [
        &format!("tcp 127.0.0.1:{port}"),
        &format!("udp 127.0.0.1:{port}"),
        "look localhost",
        "file /etc/hostname",
        "file ../masque.toml",
    ] {
        assert_denied(&host, "requester", attempt, &["`internal`"]).await;
    }
    assert!(upstream.seen().is_empty(), "a connection arrived");
}
