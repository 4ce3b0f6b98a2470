//! Granted host names that resolve to addresses that are not public. The host runs in a mount namespace of its own, in which
//! the test provides `/etc/hosts`.

use masque_tests::{Setup, Upstream, eventually, unavailable};

use super::network::{assert_allowed, assert_denied, requester};

/// Mounts the file `hosts` of the host's folder over `/etc/hosts`, and then executes the host.
const WITH_HOSTS_FILE: &str = "mount --bind hosts /etc/hosts && exec \"$@\"";
const UNSHARE: [&str; 4] = ["unshare", "--user", "--map-root-user", "--mount"];

fn namespaces_are_allowed() -> bool {
    let probe = std::process::Command::new(UNSHARE[0])
        .args(&UNSHARE[1..])
        .args(["mount", "--bind", "/etc/hostname", "/etc/hosts"])
        .output();
    probe.is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn a_granted_name_reaches_no_private_address_even_when_its_resolution_changes() {
    if !namespaces_are_allowed() {
        unavailable(
            "a_granted_name_reaches_no_private_address",
            "this machine does not let a program mount a file over /etc/hosts",
        );
        return;
    }
    let upstream = Upstream::on([127, 0, 0, 2].into()).await;
    let port = upstream.port();
    let private = [
        ("loopback", "127.0.0.2"),
        ("six", "::1"),
        ("mapped", "::ffff:127.0.0.2"),
        ("metadata", "169.254.169.254"),
        ("private", "10.0.0.1"),
        ("carrier", "100.100.100.200"),
    ];
    let mut names: String =
        private.iter().map(|(name, address)| format!("{address} {name}.test\n")).collect();
    names.push_str("127.0.0.2 changing.test\n");
    let mut grants: Vec<_> =
        private.iter().map(|(name, _)| format!("\"http://{name}.test:{port}\"")).collect();
    grants.push(format!("\"http://changing.test:{port}\""));
    let grants = format!("grants.http = [{}]", grants.join(", "));
    let host = Setup::file("[companions.elara]\npersona = \"elara\"\nmodels = [\"offline\"]\n")
        .and(&requester("public-only", &grants))
        // This plugin may also reach one loopback address.
        .and(&requester("with-loopback", &format!("{grants}\ngrants.networks = [\"127.0.0.2\"]")))
        .beside("hosts", names.as_bytes())
        .launched_by(&[&UNSHARE[..], &["sh", "-c", WITH_HOSTS_FILE, "sh"]].concat())
        .start()
        .await;

    for (name, _) in private {
        let origin = format!("http://{name}.test:{port}");
        assert_denied(
            &host,
            "public-only",
            &format!("GET {origin}/"),
            &[&origin, "needs a `networks` grant"],
        )
        .await;
    }
    assert!(upstream.seen().is_empty(), "a request arrived");

    // The host connects to the address that it has checked, and resolves the name again for the next request.
    let changing = format!("GET http://changing.test:{port}/");
    assert_allowed(&host, "with-loopback", &changing).await;
    for address in ["169.254.169.254", "127.0.0.1", "10.0.0.1"] {
        std::fs::write(host.folder().join("hosts"), format!("{address} changing.test\n")).unwrap();
        assert_denied(&host, "with-loopback", &changing, &["changing.test", "needs a `networks` grant"])
            .await;
    }
    std::fs::write(host.folder().join("hosts"), "127.0.0.2 changing.test\n").unwrap();
    assert_allowed(&host, "with-loopback", &changing).await;
    eventually("both requests to arrive", || async { (upstream.seen().len() == 2).then_some(()) }).await;
}
