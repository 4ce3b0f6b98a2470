//! Every way to an address that was not granted, to the operating system, and to what the host itself offers.

use masque_tests::{BackgroundClient, Baseline, Host, Setup, Upstream, fixture};
use serde_json::json;

const COMPANIONS: &str =
    "[turn]\nlog_ttl = \"1s\"\n\n[companions.elara]\npersona = \"elara\"\nmodels = [\"offline\"]\n";

/// The plugin `name`, and a companion of that name which it plays.
pub(super) fn traveller(name: &str, entry: &str) -> String {
    let source = fixture("reaches-out");
    format!(
        "[companions.{name}]\npersona = \"{name}\"\nmodels = [\"offline\"]\n\n[plugins.{name}]\nsource = {source:?}\n{entry}\n"
    )
}

/// Sends the companion `name` somewhere and sees it fail, in words that name it and what was missing.
pub(super) async fn is_stopped(host: &Host, name: &str, destination: &str, missing: &[&str]) {
    let body = json!({ "message": destination, "companion": name });
    let answer = host.client().chat(&body).send().await;
    assert_eq!(answer.status, 500, "{destination}: {}", answer.text);
    answer.problem(500, "plugin-failed");
    let plugin = format!("plugin `{name}`");
    host.logged_in_one_line(&[&[plugin.as_str(), "compose: "], missing].concat()).await;
}

/// Sends the companion `name` somewhere that it may go.
pub(super) async fn arrives(host: &Host, name: &str, destination: &str) {
    let body = json!({ "message": destination, "companion": name });
    host.client().chat(&body).send().await.expect(200);
}

#[tokio::test]
async fn no_way_but_the_granted_one_leads_out() {
    let (granted, other) = (Upstream::answering("open").await, Upstream::answering("closed").await);
    let (port, shut) = (granted.port(), other.port());
    // A grant for a spelling of this machine is none for the machine: the address behind it is asked for as well.
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
        .and(&traveller("walker", &format!("grants.http = [\"GET {}/open/\"]", granted.origin())))
        .and(&traveller("speller", &format!("grants.http = [{}]", origins.join(", "))))
        .start()
        .await;
    arrives(&host, "walker", &format!("GET {}/open/door", granted.origin())).await;
    assert_eq!(granted.seen().len(), 1);
    let baseline = Baseline::of(&host).await;
    let background_client = BackgroundClient::start(host.client(), super::HEALTHY_COMPANION);

    for url in [
        // Another place, method or path.
        format!("GET http://127.0.0.1:{shut}/open/"),
        format!("POST http://127.0.0.1:{port}/open/"),
        format!("GET http://127.0.0.1:{port}/"),
        format!("GET http://127.0.0.1:{port}/opener"),
        format!("GET http://127.0.0.1:{port}/open/../closed"),
        format!("GET http://127.0.0.1:{port}/open/%2e%2E/closed"),
        format!("GET http://127.0.0.1:{port}/open/..%2fclosed"),
        format!("GET https://127.0.0.1:{port}/open/"),
        // The same place under another name.
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
        // An IPv6 address has several right spellings.
        let named = if origin.starts_with('[') { "[" } else { origin };
        is_stopped(&host, "walker", &url, &[named, "needs an `http` grant"]).await;
    }
    for origin in &spellings {
        let named = if origin.contains('[') { "[" } else { origin };
        is_stopped(&host, "speller", &format!("GET {origin}/"), &[named, "needs a `networks` grant"]).await;
    }

    background_client.finish("attempts to get out").await;
    assert_eq!((granted.seen().len(), other.seen().len()), (1, 0), "nobody came");
    baseline.returns(&host).await;
}

#[tokio::test]
async fn a_redirect_is_the_guests_to_follow_and_needs_a_grant() {
    let closed = Upstream::answering("closed").await;
    let redirecting = Upstream::redirecting_to(&format!("{}/", closed.origin())).await;
    let grants = format!("grants.http = [\"{}\"]", redirecting.origin());
    let host = Setup::file(COMPANIONS).and(&traveller("walker", &grants)).start().await;
    arrives(&host, "walker", &format!("GET {}/", redirecting.origin())).await;
    assert_eq!((redirecting.seen().len(), closed.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_guests_own_authorization_gives_way_to_the_hosts_and_goes_nowhere_else() {
    let (keyed, other) = (Upstream::answering("open").await, Upstream::answering("open").await);
    let entry = format!(
        "settings.authorization = \"Bearer its-own\"\ngrants = {{ http = [\"{}\"], credentials = [\"key\"] }}\n\n[credentials.key]\norigin = \"{}\"\nheader = \"authorization\"\nvalue = \"Bearer the-hosts-own\"\n",
        keyed.origin(),
        keyed.origin()
    );
    let host = Setup::file(COMPANIONS).and(&traveller("thief", &entry)).start().await;

    arrives(&host, "thief", &format!("GET {}/", keyed.origin())).await;
    is_stopped(&host, "thief", &format!("GET {}/", other.origin()), &["needs an `http` grant"]).await;

    let head = keyed.seen().join("").to_lowercase();
    assert!(head.contains("authorization: bearer the-hosts-own"), "{head}");
    assert_eq!(head.matches("authorization").count(), 1, "{head}");
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn what_was_not_granted_is_denied_by_name() {
    let closed = Upstream::answering("closed").await;
    let host = Setup::file(COMPANIONS).and(&traveller("walker", "")).start().await;
    for (attempt, missing) in [
        ("state visits", "the grant `state` is missing"),
        ("shared visits", "the grant `state` is missing"),
        ("history 5", "the grant `history` is missing"),
        ("ask anything", "the grant `models` is missing"),
    ] {
        is_stopped(&host, "walker", attempt, &["`denied`", missing]).await;
    }
    // Sockets, names and files are nobody's: no grant opens them.
    let port = closed.port();
    for attempt in [
        &format!("tcp 127.0.0.1:{port}"),
        &format!("udp 127.0.0.1:{port}"),
        "look localhost",
        "file /etc/hostname",
        "file ../masque.toml",
    ] {
        is_stopped(&host, "walker", attempt, &["`internal`"]).await;
    }
    assert!(closed.seen().is_empty(), "nobody came");
}
