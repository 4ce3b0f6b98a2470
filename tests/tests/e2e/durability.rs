//! Durability: a reply is written and flushed before the first byte that acknowledges it, as strace shows, and none is
//! acknowledged after the database is gone.

use std::path::Path;

use masque_tests::{Answer, MockModel, Setup, unavailable};
use serde_json::json;

#[tokio::test]
async fn a_reply_is_flushed_to_disk_before_it_is_acknowledged() {
    let allowed = std::process::Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        unavailable("a_reply_is_flushed_to_disk", "strace is missing or not allowed to trace");
        return;
    }
    let model = MockModel::start().await;
    let setup = Setup::model(&model);
    let trace = setup.folder().join("trace");
    let trace = trace.to_str().unwrap();
    // With `-D` the host is the child and strace its descendant, so signals reach the host.
    let words = ["strace", "-D", "-f", "-q", "-y", "-s", "70000", "-e", CALLS, "-o", trace];
    let mut host = setup.launched_by(&words).start().await;

    for (marker, stream) in [("marzipan", false), ("nougat", true)] {
        model.next(Answer::pieces(&["The word is ", marker, "."]));
        let body = json!({ "message": format!("Which word is the {}th?", marker.len()), "stream": stream });
        host.client().chat(&body).send().await;
    }
    host.terminate();
    host.ended().await;

    let trace = masque_tests::eventually("strace to finish its file", || async {
        let text = read(Path::new(trace));
        text.contains("+++ exited with").then_some(text)
    })
    .await;
    let calls = calls(&trace);
    for marker in ["marzipan", "nougat"] {
        let acknowledged = calls.iter().position(|call| call.to_client(&format!("word is {marker}.")));
        let acknowledged = acknowledged.unwrap_or_else(|| panic!("no acknowledgement of {marker}"));
        let written = calls[..acknowledged].iter().rposition(|call| call.to_log(marker));
        let written = written.unwrap_or_else(|| panic!("{marker} was acknowledged before it was written"));
        let flushed =
            calls[written..acknowledged].iter().any(|call| call.name == "fdatasync" && call.result == "0");
        assert!(flushed, "{marker} was acknowledged before it was flushed");
    }
}

#[tokio::test]
async fn a_host_whose_data_folder_is_deleted_acknowledges_nothing_more_and_ends_with_the_reason() {
    let mut host = Setup::defaults().start().await;
    let client = host.client();
    client.say("Keep this.").await;
    std::fs::remove_dir_all(host.data()).unwrap();
    // The connection may be closed instead of the refusal, since the host ends at once.
    if let Ok(answer) = client.chat(&json!({ "message": "And this." })).try_send().await {
        assert_eq!(answer.status, 503, "{}", answer.text);
    }
    assert_eq!(host.ended().await.code(), Some(1));
    host.logged("masque.db was moved or deleted").await;
}

const CALLS: &str = "trace=fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg";

struct Call {
    name: String,
    text: String,
    result: String,
}

impl Call {
    /// Whether it sends a complete reply to a client. A delta may hold the same text, but never `timing`.
    fn to_client(&self, reply: &str) -> bool {
        let sends = ["write", "writev", "sendto", "sendmsg"].contains(&self.name.as_str());
        sends
            && (self.text.contains("TCP") || self.text.contains("socket:"))
            && self.text.contains(reply)
            && self.text.contains("timing")
    }

    /// Whether it writes a page with this text to the write-ahead log.
    fn to_log(&self, text: &str) -> bool {
        self.name == "pwrite64" && self.text.contains("-wal>") && self.text.contains(text)
    }
}

/// The system calls in the order in which they ended. strace splits a call into two lines if another thread interrupts it.
fn calls(trace: &str) -> Vec<Call> {
    let mut begun = std::collections::BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        let whole = if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(thread.to_owned(), start.to_owned());
            continue;
        } else if rest.starts_with("<... ") {
            let Some(start) = begun.remove(thread) else { continue };
            let end = rest.split_once("resumed>").map_or("", |(_, end)| end);
            format!("{start}{end}")
        } else {
            rest.to_owned()
        };
        let Some((name, text)) = whole.split_once('(') else { continue };
        let result = text.rsplit_once(" = ").map_or("", |(_, result)| result);
        calls.push(Call { name: name.to_owned(), text: text.to_owned(), result: result.to_owned() });
    }
    calls
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
