//! The API does what its description says, by the judgement of a program that no one here wrote: Schemathesis makes
//! requests out of the description, right ones and wrong ones, and holds the answers against it.

use std::time::Duration;

use masque_tests::{Setup, full, python};
use tokio::process::Command;

/// The release that the test was written against.
const PACKAGE: &str = "schemathesis==4.32.5";

/// Far longer than all its examples take.
const LONGEST: Duration = Duration::from_secs(900);

#[tokio::test]
async fn the_whole_description_holds() {
    let schemathesis = python::environment("schemathesis", PACKAGE).await.join("bin/schemathesis");
    let setup = Setup::defaults().with_users();
    let reader = ["--scope", "chat", "--scope", "admin:read", "--scope", "tokens:mint"];
    // With this one, Schemathesis would sooner or later revoke the key that it uses: it has the admin routes alone.
    let writer = ["--scope", "admin:read", "--scope", "admin:write"];
    let keys = [setup.make_key(&reader).await, setup.make_key(&writer).await];
    let host = setup.start().await;
    let address = format!("http://{}/openapi.json", host.address());
    for (key, paths) in keys.iter().zip(["", "^/admin/"]) {
        let mut command = Command::new(&schemathesis);
        command.args(["run", &address, "--header", &format!("Authorization: Bearer {key}"), "--no-color"]);
        command.args(["--max-examples", if full() { "300" } else { "15" }, "--seed", "1"]);
        // What a schema can't say (a cursor that was given before, one of two fields, a companion that is there) is
        // refused with 422, as the description says.
        command.args(["--exclude-checks", "positive_data_acceptance"]);
        if !paths.is_empty() {
            // It would infer links between all routes, also to those that are left out.
            command.args(["--include-path-regex", paths, "--phases", "examples,coverage,fuzzing"]);
        }
        command.current_dir(host.folder()).kill_on_drop(true);
        let output = tokio::time::timeout(LONGEST, command.output()).await.expect("schemathesis did not end");
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(" generated"), "nothing was tried: {text}");
    }
    assert!(!host.log().contains("panicked"), "a handler panicked");
}
