//! A disk that fills up: nothing is acknowledged that is not kept, and the host recovers when there is room.

use std::io::Write;

use masque_tests::{Reply, Setup, eventually, skipped};
use serde_json::json;

/// Mounts a small file system over the data folder, in a namespace of its own, and becomes the host.
const ON_A_SMALL_DISK: &str = "mkdir -p data && mount -t tmpfs -o size=48m masque data && exec \"$@\"";

#[tokio::test]
async fn on_a_full_disk_nothing_is_acknowledged_and_room_brings_everything_back() {
    let unshare = ["unshare", "--user", "--map-root-user", "--mount"];
    let allowed = std::process::Command::new(unshare[0])
        .args(&unshare[1..])
        .args(["sh", "-c", "mount -t tmpfs probe /tmp"])
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
    // The database may have room left in the pages that it already owns. Plain and streamed in turn, until both are
    // refused before a word of the answer has left.
    let mut acknowledged = vec!["There is room for this.".to_owned()];
    let (mut plain, mut streamed) = (None, None);
    for number in 0.. {
        assert!(number < 1000, "a full disk refuses in the end");
        let stream = number % 2 == 1;
        let message = format!("Message {number} {}", "x".repeat(32_000));
        let body = json!({ "message": message, "conversation_id": conversation, "stream": stream });
        let answer = client.chat(&body).send().await;
        if acknowledges(&answer, stream) {
            acknowledged.push(message);
        } else if answer.status != 200 {
            *(if stream { &mut streamed } else { &mut plain }) = Some(answer);
        }
        if plain.is_some() && streamed.is_some() {
            break;
        }
    }
    for refused in [plain, streamed].into_iter().flatten() {
        refused.problem(503, "storage-unavailable");
    }
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
        said.extend(
            page["items"].as_array().unwrap().iter().filter(|message| message["role"] == "user").cloned(),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/conversations/{conversation}/messages?limit=100&after={next}"),
            None => break,
        }
    }
    let kept = said.iter().filter(|message| acknowledged.iter().any(|one| message["content"] == **one));
    assert_eq!(kept.count(), acknowledged.len(), "every acknowledged message is there, once");
    // A turn that was refused at its very end is there as one that did not complete.
    for message in said.iter().filter(|message| acknowledged.iter().all(|one| message["content"] != **one)) {
        let turn = client.turn(message["turn_id"].as_str().unwrap()).await;
        assert_ne!(turn["status"], "completed", "{turn}");
    }
}

/// Whether the answer says that the turn is complete.
fn acknowledges(answer: &Reply, stream: bool) -> bool {
    answer.status == 200 && (!stream || answer.text.contains("event: turn.completed"))
}

fn fill(path: &std::path::Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 4096] {
        let block = vec![0; size];
        while file.write_all(&block).is_ok() {}
    }
}
