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
    let scopes =
        ["--scope", "chat", "--scope", "admin:read", "--scope", "admin:write", "--scope", "tokens:mint"];
    let key = setup.make_key(&scopes).await;
    let host = setup.start().await;
    let examples = if full() { "200" } else { "15" };
    let mut command = Command::new(schemathesis);
    command.args(["run", &format!("http://{}/openapi.json", host.address())]);
    command.args([
        "--header",
        &format!("Authorization: Bearer {key}"),
        "--max-examples",
        examples,
        "--seed",
        "1",
        "--no-color",
    ]);
    command.current_dir(host.folder()).kill_on_drop(true);
    let output =
        tokio::time::timeout(LONGEST, command.output()).await.expect("schemathesis did not end").unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let summary = text.lines().find(|line| line.contains("generated")).unwrap_or_else(|| panic!("{text}"));
    println!("{summary}");
    assert!(!host.log().contains("panicked"), "a handler panicked");
}
