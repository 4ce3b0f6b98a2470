//! A disk that fills up: nothing is acknowledged that is not kept, and the host recovers when there is room.

use std::io::Write;

use masque_tests::{Setup, eventually, skipped};
use serde_json::json;

/// Mounts a small file system over the data folder, in a namespace of its own, and becomes the host.
const ON_A_SMALL_DISK: &str = "mkdir -p data && mount -t tmpfs -o size=48m masque data && exec \"$@\"";

#[tokio::test]
async fn on_a_full_disk_nothing_is_acknowledged_and_room_brings_everything_back() {
    let unshare = ["unshare", "--user", "--map-root-user", "--mount"];
    let allowed = std::process::Command::new(unshare[0])
        .args(&unshare[1..])
        .args(["sh", "-c", "mkdir -p /tmp/.masque-probe; mount -t tmpfs probe /tmp/.masque-probe"])
        .output();
    if !allowed.as_ref().is_ok_and(|output| output.status.success()) {
        skipped(
            "on_a_full_disk",
            "this machine does not let a program mount a file system in a namespace of its own",
        );
        return;
    }
    let launcher = [&unshare[..], &["sh", "-c", ON_A_SMALL_DISK, "sh"]].concat();
    let mut host = Setup::defaults().launched_by(&launcher).start().await;
    let client = host.client();
    let kept = client.say("There is room for this.").await;
    let conversation = kept["conversation_id"].as_str().unwrap();
    let data = host.seen_by_host(host.data());

    fill(&data.join("filler"));
    // The database may have room left in the pages that it already owns.
    let mut acknowledged = vec!["There is room for this.".to_owned()];
    let refused = loop {
        let message = format!("Message {} {}", acknowledged.len(), "x".repeat(32_000));
        let body = json!({ "message": message, "conversation_id": conversation });
        let answer = client.chat(&body).send().await;
        if answer.status != 200 {
            break answer;
        }
        acknowledged.push(message);
        assert!(acknowledged.len() < 1000, "a full disk refuses in the end");
    };
    refused.problem(503, "storage-unavailable");
    let streamed = client.chat(&json!({ "message": "x".repeat(32_000), "stream": true })).send().await;
    streamed.problem(503, "storage-unavailable");
    assert!(host.is_running());
    client.get("/livez").send().await.expect(200);
    client.get(&format!("/conversations/{conversation}")).send().await.expect(200);

    std::fs::remove_file(data.join("filler")).unwrap();
    eventually("the host to accept messages again", || async {
        let body = json!({ "message": "Is there room again?", "conversation_id": conversation });
        (client.chat(&body).send().await.status == 200).then_some(())
    })
    .await;
    acknowledged.push("Is there room again?".to_owned());

    let mut said = Vec::new();
    let mut path = format!("/conversations/{conversation}/messages?limit=100");
    loop {
        let page = client.get(&path).send().await.expect(200);
        for message in page["items"].as_array().unwrap() {
            if message["role"] == "user" {
                said.push(message["content"].as_str().unwrap().to_owned());
            }
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/conversations/{conversation}/messages?limit=100&after={next}"),
            None => break,
        }
    }
    let missing = acknowledged.iter().filter(|message| !said.contains(message)).count();
    assert_eq!(missing, 0, "every acknowledged message is there");
    assert_eq!(said.len(), acknowledged.len(), "and no refused one");
}

fn fill(path: &std::path::Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 4096] {
        let block = vec![0; size];
        while file.write_all(&block).is_ok() {}
    }
}
