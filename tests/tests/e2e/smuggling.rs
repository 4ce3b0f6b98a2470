//! Request smuggling: bytes that a proxy could parse as one request and the host as two. The hidden second request is
//! never answered: the first request is refused, or the connection is closed after it.

use masque_tests::{RawConnection, Setup, eventually};
use serde_json::json;

/// The hidden request, which a proxy would have refused.
const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Requests with a name. Each has `HIDDEN` in its body by one interpretation, and after its end by another.
fn ambiguous_requests() -> Vec<(&'static str, String)> {
    let length = HIDDEN.len();
    let chunk = format!("{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n");
    let post = |headers: &str, body: String| {
        format!(
            "POST /chat HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}\r\n{body}"
        )
    };
    let chunked = |line: &str| post(&format!("{line}\r\n"), format!("0\r\n\r\n{HIDDEN}"));
    vec![
        (
            "content-length before chunked",
            post("content-length: 5\r\ntransfer-encoding: chunked\r\n", format!("0\r\n\r\n{HIDDEN}")),
        ),
        (
            "chunked before content-length",
            post("transfer-encoding: chunked\r\ncontent-length: 5\r\n", format!("0\r\n\r\n{HIDDEN}")),
        ),
        (
            "chunked and a content-length that includes the hidden request",
            post(
                &format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", 5 + length),
                format!("0\r\n\r\n{HIDDEN}"),
            ),
        ),
        (
            "two content-lengths",
            post(&format!("content-length: 0\r\ncontent-length: {length}\r\n"), HIDDEN.to_owned()),
        ),
        (
            "two content-lengths in one header",
            post(&format!("content-length: 0, {length}\r\n"), HIDDEN.to_owned()),
        ),
        ("a content-length with a sign", post("content-length: +0\r\n", HIDDEN.to_owned())),
        ("a negative content-length", post("content-length: -1\r\n", HIDDEN.to_owned())),
        ("a content-length in hexadecimal", post("content-length: 0x0\r\n", HIDDEN.to_owned())),
        ("an empty content-length", post("content-length: \r\n", HIDDEN.to_owned())),
        ("a transfer-encoding before chunked", chunked("transfer-encoding: gzip, chunked")),
        ("a transfer-encoding after chunked", chunked("transfer-encoding: chunked, identity")),
        ("a transfer-encoding that is almost chunked", chunked("transfer-encoding: xchunked")),
        ("a transfer-encoding with a vertical tab", chunked("transfer-encoding: \x0bchunked")),
        ("two transfer-encodings", chunked("transfer-encoding: chunked\r\ntransfer-encoding: identity")),
        ("a transfer-encoding with a space before its colon", chunked("transfer-encoding : chunked")),
        ("a transfer-encoding on a folded line", chunked("transfer-encoding:\r\n chunked")),
        (
            "a transfer-encoding folded into another header",
            chunked("x-other: a\r\n transfer-encoding: chunked"),
        ),
        (
            "a transfer-encoding behind a bare carriage return",
            chunked("x-other: a\rtransfer-encoding: chunked"),
        ),
        (
            "chunked in HTTP/1.0",
            format!(
                "POST /chat HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: keep-alive\r\n\
                 transfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"
            ),
        ),
        ("a chunk size that is no number", post("transfer-encoding: chunked\r\n", format!("zz\r\n{chunk}"))),
        (
            "a chunk size that overflows",
            post("transfer-encoding: chunked\r\n", format!("fffffffffffffffff\r\n{chunk}")),
        ),
        ("a chunk size with a sign", post("transfer-encoding: chunked\r\n", format!("+0\r\n\r\n{HIDDEN}"))),
        (
            "a chunk size that ends in a bare line feed",
            post("transfer-encoding: chunked\r\n", format!("0\n\n{HIDDEN}")),
        ),
        (
            "a chunk extension that ends in a bare line feed",
            post("transfer-encoding: chunked\r\n", format!("2;\nxx\r\n{length:x}\r\n0\r\n\r\n{HIDDEN}")),
        ),
        (
            "a chunk that is longer than its size",
            post("transfer-encoding: chunked\r\n", format!("2\r\nxxxx\r\n0\r\n\r\n{HIDDEN}")),
        ),
        (
            "two hosts",
            format!(
                "POST /chat HTTP/1.1\r\nhost: localhost\r\nhost: example.com\r\ncontent-length: 5\r\n\r\n{HIDDEN}"
            ),
        ),
        ("a line without a colon", post("content-length 0\r\n", HIDDEN.to_owned())),
        ("a line that begins with a space", post(" content-length: 0\r\n", HIDDEN.to_owned())),
        ("a zero byte in a header", post("x-other: a\0b\r\n", HIDDEN.to_owned())),
        ("a path with a line break", format!("POST /chat\nx HTTP/1.1\r\nhost: localhost\r\n\r\n{HIDDEN}")),
        (
            "an unknown version",
            format!("POST /chat HTTP/1.9\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n{HIDDEN}"),
        ),
    ]
}

#[tokio::test]
async fn an_ambiguous_request_is_answered_at_most_once_and_ends_the_connection() {
    let host =
        Setup::defaults().and("[server]\nheader_timeout = \"500ms\"\nbody_timeout = \"500ms\"").start().await;
    for (name, request) in ambiguous_requests() {
        let mut connection = RawConnection::open(host.address()).await;
        connection.send(&request).await;
        let answer = connection.read_to_end().await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.matches("HTTP/1.").count() <= 1, "{name}: {answer}");
        assert!(!answer.contains("route-not-found"), "{name}: the hidden request was answered: {answer}");
        assert!(!answer.starts_with("HTTP/1.1 2"), "{name}: {answer}");
    }
    // The hidden request was not handled either: a request that matches no route is logged with the route "-". On a busy machine,
    // this client's own head may come too late.
    let client = host.client();
    eventually("an answer", || async {
        let answer = client.chat(&json!({ "message": "Hello." })).try_send().await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    assert!(!host.log().contains("method=GET route=-"), "{}", host.log());
}

#[tokio::test]
async fn a_head_with_bare_line_feeds_is_one_request() {
    let host = Setup::defaults().and("[server]\nheader_timeout = \"500ms\"").start().await;
    // RFC 9112, section 2.2 allows a server to accept a bare line feed as the end of a line.
    let mut connection = RawConnection::open(host.address()).await;
    connection.send("GET /livez HTTP/1.1\nhost: localhost\ncontent-length: 0\nconnection: close\n\nGET /smuggled HTTP/1.1\n\n").await;
    let answer = connection.read_to_end().await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.matches("HTTP/1.").count() <= 1, "{answer}");
}

#[tokio::test]
async fn a_chunked_request_is_answered_and_its_connection_is_closed() {
    let host = Setup::defaults().start().await;
    let mut connection = RawConnection::open(host.address()).await;
    let body = r#"{"message": "Hello."}"#;
    let head = "POST /chat HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.send(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n{HIDDEN}", body.len())).await;
    let answer = connection.read_to_end().await;
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 200") && answer.contains("connection: close"), "{answer}");
    assert!(!answer.contains("route-not-found"), "{answer}");
}
