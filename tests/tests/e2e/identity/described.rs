//! The API behaves as its OpenAPI description says. Schemathesis generates valid and invalid requests from the
//! description and compares the answers with it.

use std::time::Duration;

use masque_tests::{Setup, full, python};
use tokio::process::Command;

/// The release that this test is written for.
const PACKAGE: &str = "schemathesis==4.32.5";

/// Far longer than all of its examples take.
const TIMEOUT: Duration = Duration::from_secs(900);

#[tokio::test]
async fn every_route_behaves_as_described() {
    let schemathesis = python::environment("schemathesis", PACKAGE).await.join("bin/schemathesis");
    let setup = Setup::defaults().with_authentication();
    let reader = ["chat", "admin:read", "content:read", "metrics:read", "tokens:mint"]
        .map(|scope| ["--scope", scope])
        .concat();
    // With `admin:write`, Schemathesis sooner or later revokes the key that it uses, so this key is for the admin
    // routes only.
    let writer = ["--scope", "admin:read", "--scope", "admin:write"];
    let keys = [setup.create_key(&reader).await, setup.create_key(&writer).await];
    let host = setup.start().await;
    let address = format!("http://{}/openapi.json", host.address());
    for (key, paths) in keys.iter().zip(["", "^/admin/"]) {
        let mut command = Command::new(&schemathesis);
        command.args(["run", &address, "--header", &format!("Authorization: Bearer {key}"), "--no-color"]);
        command.args(["--max-examples", if full() { "300" } else { "15" }, "--seed", "1"]);
        // A schema can't say everything: a cursor has to come from an earlier answer, only one of two fields is
        // allowed, a companion has to exist. Such requests are refused with 422, as the description says.
        command.args(["--exclude-checks", "positive_data_acceptance"]);
        if !paths.is_empty() {
            // Leave the stateful phase out: it would follow links to routes that the filter excludes.
            command.args(["--include-path-regex", paths, "--phases", "examples,coverage,fuzzing"]);
        }
        command.current_dir(host.folder()).kill_on_drop(true);
        let output = tokio::time::timeout(TIMEOUT, command.output()).await.expect("schemathesis did not end");
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(" generated"), "nothing was tried: {text}");
    }
    assert!(!host.log().contains("panicked"), "a handler panicked");
}
