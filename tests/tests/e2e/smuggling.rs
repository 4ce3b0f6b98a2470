//! Requests that two readers could take for different ones: a proxy for one request, the host for two. Whoever hides a
//! second request in the first gets no answer to it: the first is refused, or the connection ends with it.

use masque_tests::{RawConnection, Setup};

/// What a proxy would not have let through.
const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// The rest of a head after the request's line, and a body in which `HIDDEN` is found by one of two readings.
fn shapes() -> Vec<(&'static str, String)> {
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
            "a length before chunks",
            post("content-length: 5\r\ntransfer-encoding: chunked\r\n", format!("0\r\n\r\n{HIDDEN}")),
        ),
        (
            "chunks before a length",
            post("transfer-encoding: chunked\r\ncontent-length: 5\r\n", format!("0\r\n\r\n{HIDDEN}")),
        ),
        (
            "a length that spans the hidden",
            post(
                &format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", 5 + length),
                format!("0\r\n\r\n{HIDDEN}"),
            ),
        ),
        (
            "two lengths",
            post(&format!("content-length: 0\r\ncontent-length: {length}\r\n"), HIDDEN.to_owned()),
        ),
        ("two lengths in one", post(&format!("content-length: 0, {length}\r\n"), HIDDEN.to_owned())),
        ("a length with a sign", post("content-length: +0\r\n", HIDDEN.to_owned())),
        ("a negative length", post("content-length: -1\r\n", HIDDEN.to_owned())),
        ("a length in hexadecimal", post("content-length: 0x0\r\n", HIDDEN.to_owned())),
        ("an empty length", post("content-length: \r\n", HIDDEN.to_owned())),
        ("an encoding before chunked", chunked("transfer-encoding: gzip, chunked")),
        ("an encoding after chunked", chunked("transfer-encoding: chunked, identity")),
        ("an encoding that is almost chunked", chunked("transfer-encoding: xchunked")),
        ("an encoding with a vertical tab", chunked("transfer-encoding: \x0bchunked")),
        ("an encoding twice", chunked("transfer-encoding: chunked\r\ntransfer-encoding: identity")),
        ("an encoding with a space before its colon", chunked("transfer-encoding : chunked")),
        ("an encoding on a folded line", chunked("transfer-encoding:\r\n chunked")),
        ("an encoding folded into another header", chunked("x-other: a\r\n transfer-encoding: chunked")),
        ("an encoding behind a bare carriage return", chunked("x-other: a\rtransfer-encoding: chunked")),
        (
            "chunks in HTTP/1.0",
            format!(
                "POST /chat HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: keep-alive\r\n\
                 transfer-encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"
            ),
        ),
        ("a chunk whose size is none", post("transfer-encoding: chunked\r\n", format!("zz\r\n{chunk}"))),
        (
            "a chunk whose size overflows",
            post("transfer-encoding: chunked\r\n", format!("fffffffffffffffff\r\n{chunk}")),
        ),
        (
            "a chunk whose size has a sign",
            post("transfer-encoding: chunked\r\n", format!("+0\r\n\r\n{HIDDEN}")),
        ),
        (
            "a chunk whose size ends in a bare line feed",
            post("transfer-encoding: chunked\r\n", format!("0\n\n{HIDDEN}")),
        ),
        (
            "an extension that ends in a bare line feed",
            post("transfer-encoding: chunked\r\n", format!("2;\nxx\r\n{length:x}\r\n0\r\n\r\n{HIDDEN}")),
        ),
        (
            "a chunk that is longer than it says",
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
        ("a zero in a header", post("x-other: a\0b\r\n", HIDDEN.to_owned())),
        ("a path with a line break", format!("POST /chat\nx HTTP/1.1\r\nhost: localhost\r\n\r\n{HIDDEN}")),
        (
            "a version that is none",
            format!("POST /chat HTTP/1.9\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n{HIDDEN}"),
        ),
    ]
}

#[tokio::test]
async fn a_request_that_could_be_two_is_answered_once_at_most_and_ends_the_connection() {
    let host =
        Setup::defaults().and("[server]\nheader_timeout = \"500ms\"\nbody_timeout = \"500ms\"").start().await;
    for (shape, request) in shapes() {
        let mut connection = RawConnection::open(host.address()).await;
        connection.send(&request).await;
        let answer = connection.read_to_end().await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.matches("HTTP/1.").count() <= 1, "{shape}: {answer}");
        assert!(!answer.contains("route-not-found"), "{shape}: the hidden request was answered: {answer}");
        assert!(!answer.starts_with("HTTP/1.1 2"), "{shape}: {answer}");
    }
    // Nor was it served unanswered.
    host.client().say("Hello.").await;
    assert!(!host.log().contains("method=GET route=\"-\""), "{}", host.log());
}

#[tokio::test]
async fn a_head_with_bare_line_feeds_is_read_in_one_way() {
    let host = Setup::defaults().and("[server]\nheader_timeout = \"500ms\"").start().await;
    // RFC 9112, section 2.2 lets a server take these for line ends, and then all of them.
    let mut connection = RawConnection::open(host.address()).await;
    connection.send("GET /livez HTTP/1.1\nhost: localhost\ncontent-length: 0\nconnection: close\n\nGET /smuggled HTTP/1.1\n\n").await;
    let answer = connection.read_to_end().await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.matches("HTTP/1.").count() <= 1, "{answer}");
}

#[tokio::test]
async fn a_chunked_request_is_answered_and_its_connection_ends() {
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
