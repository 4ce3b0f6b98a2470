//! Names that were granted and lead where nobody should go. The host runs in a mount namespace of its own, in which
//! the file of names is the test's.

use masque_tests::{Setup, Upstream, eventually, skipped};

use super::network::{arrives, is_stopped, traveller};

/// Puts the folder's `hosts` in the place of the machine's, and becomes the host.
const WITH_OTHER_NAMES: &str = "mount --bind hosts /etc/hosts && exec \"$@\"";
const UNSHARE: [&str; 4] = ["unshare", "--user", "--map-root-user", "--mount"];

fn namespaces_are_allowed() -> bool {
    let probe = std::process::Command::new(UNSHARE[0])
        .args(&UNSHARE[1..])
        .args(["mount", "--bind", "/etc/hostname", "/etc/hosts"])
        .output();
    probe.is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn a_granted_name_leads_to_no_closed_address_also_when_it_changes_its_mind() {
    if !namespaces_are_allowed() {
        skipped(
            "a_granted_name_leads_to_no_closed_address",
            "this machine does not let a program have names of its own",
        );
        return;
    }
    let here = Upstream::on([127, 0, 0, 2].into()).await;
    let port = here.port();
    let closed = [
        ("loopback", "127.0.0.2"),
        ("six", "::1"),
        ("mapped", "::ffff:127.0.0.2"),
        ("metadata", "169.254.169.254"),
        ("private", "10.0.0.1"),
        ("carrier", "100.100.100.200"),
    ];
    let mut names: String = closed.iter().map(|(name, address)| format!("{address} {name}.test\n")).collect();
    names.push_str("127.0.0.2 changing.test\n");
    let mut grants: Vec<_> =
        closed.iter().map(|(name, _)| format!("\"http://{name}.test:{port}\"")).collect();
    grants.push(format!("\"http://changing.test:{port}\""));
    let grants = format!("grants.http = [{}]", grants.join(", "));
    let host = Setup::file("[companions.elara]\npersona = \"elara\"\nmodels = [\"offline\"]\n")
        .and(&traveller("walker", &grants))
        // This one may go to one address of the machine.
        .and(&traveller("neighbour", &format!("{grants}\ngrants.networks = [\"127.0.0.2\"]")))
        .beside("hosts", names.as_bytes())
        .launched_by(&[&UNSHARE[..], &["sh", "-c", WITH_OTHER_NAMES, "sh"]].concat())
        .start()
        .await;

    for (name, _) in closed {
        let origin = format!("http://{name}.test:{port}");
        is_stopped(&host, "walker", &format!("GET {origin}/"), &[&origin, "needs a `networks` grant"]).await;
    }
    assert!(here.seen().is_empty(), "nobody came");

    // The answer that was checked is the one that is connected to, and the next request asks again.
    let changing = format!("GET http://changing.test:{port}/");
    arrives(&host, "neighbour", &changing).await;
    for address in ["169.254.169.254", "127.0.0.1", "10.0.0.1"] {
        std::fs::write(host.folder().join("hosts"), format!("{address} changing.test\n")).unwrap();
        is_stopped(&host, "neighbour", &changing, &["changing.test", "needs a `networks` grant"]).await;
    }
    std::fs::write(host.folder().join("hosts"), "127.0.0.2 changing.test\n").unwrap();
    arrives(&host, "neighbour", &changing).await;
    eventually("both to have come", || async { (here.seen().len() == 2).then_some(()) }).await;
}
