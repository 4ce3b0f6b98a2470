//! A disk that fills up: the host keeps every acknowledged message, refuses others, and recovers when there is space again.

use std::cell::{Cell, RefCell};
use std::io::Write;

use masque_tests::{Reply, Setup, eventually, unavailable};
use serde_json::json;

/// Mounts a small file system over the data folder, in a mount namespace of its own, and then executes the host.
const ON_A_SMALL_DISK: &str = "mkdir -p data && mount -t tmpfs -o size=48m masque data && exec \"$@\"";

#[tokio::test]
async fn a_full_disk_loses_no_acknowledged_message_and_the_host_recovers_when_there_is_space() {
    let unshare = ["unshare", "--user", "--map-root-user", "--mount"];
    let allowed = std::process::Command::new(unshare[0])
        .args(&unshare[1..])
        .args(["sh", "-c", "mount -t tmpfs probe /tmp"])
        .output();
    if !allowed.as_ref().is_ok_and(|output| output.status.success()) {
        unavailable(
            "a_full_disk_loses_no_acknowledged_message",
            "this machine does not let a program mount a file system in a namespace of its own",
        );
        return;
    }
    let launcher = [&unshare[..], &["sh", "-c", ON_A_SMALL_DISK, "sh"]].concat();
    let mut host = Setup::defaults().launched_by(&launcher).start().await;
    let client = host.client();
    let first = client.say("There is room for this.").await;
    let conversation = first["conversation_id"].as_str().unwrap();
    let data = host.seen_by_host(host.data());

    fill(&data.join("filler"));
    // Free pages within the database may still hold some messages. Send plain and streamed requests alternately until one of
    // each is refused with an HTTP error.
    let mut acknowledged = vec!["There is room for this.".to_owned()];
    let (mut plain, mut streamed) = (None, None);
    for number in 0.. {
        assert!(number < 1000, "a full disk refuses in the end");
        let stream = number % 2 == 1;
        let message = format!("Message {number} {}", "x".repeat(32_000));
        let body = json!({ "message": message, "conversation_id": conversation, "stream": stream });
        let answer = client.chat(&body).send().await;
        if is_acknowledgement(&answer, stream) {
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
    // Reads succeed on a full disk, so only the refused writes tell.
    let (number, fitting) = (Cell::new(0), RefCell::new(Vec::new()));
    eventually("the host to say that its store is unavailable", || async {
        number.set(number.get() + 1);
        let message = format!("Late message {} {}", number.get(), "x".repeat(32_000));
        let body = json!({ "message": message, "conversation_id": conversation });
        if client.chat(&body).send().await.status == 200 {
            fitting.borrow_mut().push(message);
        }
        let health = client.get("/health").send().await.expect(200);
        (health["status"] == "degraded" && health["checks"]["store"] == "unavailable").then_some(())
    })
    .await;
    acknowledged.extend(fitting.into_inner());
    client.get(&format!("/conversations/{conversation}")).send().await.expect(200);

    std::fs::remove_file(data.join("filler")).unwrap();
    eventually("the host to accept messages again", || async {
        let body = json!({ "message": "Is there room again?", "conversation_id": conversation });
        (client.chat(&body).send().await.status == 200).then_some(())
    })
    .await;
    acknowledged.push("Is there room again?".to_owned());
    eventually("the host to say that its store works", || async {
        let health = client.get("/health").send().await.expect(200);
        (health["checks"]["store"] == "ok").then_some(())
    })
    .await;

    let mut stored = Vec::new();
    let mut path = format!("/conversations/{conversation}/messages?limit=100");
    loop {
        let page = client.get(&path).send().await.expect(200);
        stored.extend(
            page["items"].as_array().unwrap().iter().filter(|message| message["role"] == "user").cloned(),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/conversations/{conversation}/messages?limit=100&after={next}"),
            None => break,
        }
    }
    let kept = stored.iter().filter(|message| acknowledged.iter().any(|one| message["content"] == **one));
    assert_eq!(kept.count(), acknowledged.len(), "every acknowledged message is stored, once");
    // A message may be stored although its turn failed when it was committed. That turn must not be completed.
    for message in stored.iter().filter(|message| acknowledged.iter().all(|one| message["content"] != **one))
    {
        let turn = client.turn(message["turn_id"].as_str().unwrap()).await;
        assert_ne!(turn["status"], "completed", "{turn}");
    }
}

/// Whether the answer acknowledges that the turn is complete.
fn is_acknowledgement(answer: &Reply, stream: bool) -> bool {
    answer.status == 200 && (!stream || answer.text.contains("event: turn.completed"))
}

/// Writes to `path` until the disk is full.
fn fill(path: &std::path::Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 4096] {
        let block = vec![0; size];
        while file.write_all(&block).is_ok() {}
    }
}
