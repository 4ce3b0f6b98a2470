//! HTTP/2 denial of service: floods of frames that cost the sender little and a careless server much. The host closes
//! the connection, serves others meanwhile, and uses no more memory afterwards.

use masque_tests::{BackgroundClient, Host, RawConnection, Setup};

/// The connection preface (RFC 9113, section 3.4) and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Frame types and flags (RFC 9113, section 6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The headers of `GET /livez` at `localhost`, in HPACK (RFC 7541, appendix A and section 6.2.1).
const LIVEZ: &[u8] = b"\x82\x86\x44\x06/livez\x41\x09localhost";

/// More than the allocator keeps for reuse, and less than any of these floods would need if the host buffered it.
const MAX_GROWTH: usize = 64 << 20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

async fn host() -> Host {
    Setup::defaults().and("[server]\nheader_timeout = \"2s\"\nwrite_timeout = \"1s\"").start().await
}

/// Sends `first`, then `bytes` repeatedly without reading, at most `times` times. Returns whether the host closed the
/// connection.
async fn flood(host: &Host, what: &str, first: &[u8], bytes: &[u8], times: usize) -> bool {
    let client = host.client();
    client.say("Warm up.").await;
    let before = host.memory();
    let background_client = BackgroundClient::start(client.clone(), "elara").await;
    let mut connection = RawConnection::open(host.address()).await;
    connection.send(PREFACE).await;
    connection.send(first).await;
    let closed = connection.flood(bytes, times).await;
    let grown = host.memory().saturating_sub(before);
    background_client.finish(what).await;
    assert!(grown < MAX_GROWTH, "{what} cost {} MiB", grown >> 20);
    closed
}

#[tokio::test]
async fn a_rapid_reset_flood_ends_the_connection() {
    let host = host().await;
    let client = host.client();
    let before = host.memory();
    let background_client = BackgroundClient::start(client, "elara").await;
    let mut closed = 0;
    for _ in 0..5 {
        let mut connection = RawConnection::open(host.address()).await;
        connection.send(PREFACE).await;
        // CVE-2023-44487: each pair of frames starts work and frees its stream at once, so the stream limit never applies.
        for batch in 0..200 {
            let streams = (0..100u32).map(|stream| (batch * 100 + stream) * 2 + 1);
            let frames = streams.flat_map(|stream| {
                let mut pair = frame(HEADERS, END_STREAM | END_HEADERS, stream, LIVEZ);
                pair.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
                pair
            });
            if connection.flood(&frames.collect::<Vec<_>>(), 1).await {
                closed += 1;
                break;
            }
        }
    }
    let grown = host.memory().saturating_sub(before);
    background_client.finish("rapid reset").await;
    assert!(grown < MAX_GROWTH, "it cost {} MiB", grown >> 20);
    assert_eq!(closed, 5, "connections that were closed");
}

#[tokio::test]
async fn endless_headers_end_the_connection() {
    let host = host().await;
    // CVE-2024-27316: every CONTINUATION frame has another header field.
    let first = frame(HEADERS, END_STREAM, 1, LIVEZ);
    let mut field = b"\x00\x05x-abc\x7f\xf1\x1e".to_vec();
    field.extend(vec![b'x'; 127 + 0xf1 - 0x80 + (0x1e << 7)]);
    let closed = flood(&host, "endless headers", &first, &frame(CONTINUATION, 0, 1, &field), 20_000).await;
    assert!(closed, "80 MiB of headers were taken");
}

#[tokio::test]
async fn empty_continuations_end_the_connection() {
    let host = host().await;
    let first = frame(HEADERS, END_STREAM, 1, LIVEZ);
    let empty = frame(CONTINUATION, 0, 1, b"").repeat(1000);
    assert!(flood(&host, "empty continuations", &first, &empty, 5_000).await, "45 MB of them were taken");
}

#[tokio::test]
async fn a_settings_flood_without_reading_ends_the_connection() {
    let host = host().await;
    // Sets SETTINGS_HEADER_TABLE_SIZE to 4096.
    let one = frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0x10, 0]);
    let settings = one.repeat(1000);
    assert!(flood(&host, "settings", b"", &settings, 20_000).await, "300 MB of them were taken");
}

#[tokio::test]
async fn a_ping_flood_without_reading_ends_the_connection() {
    let host = host().await;
    let pings = frame(PING, 0, 0, b"12345678").repeat(1000);
    assert!(flood(&host, "pings", b"", &pings, 20_000).await, "340 MB of them were taken");
}

#[tokio::test]
async fn a_flood_whose_answers_are_read_ends_as_an_idle_connection() {
    let host = host().await;
    let client = host.client();
    client.say("Warm up.").await;
    let before = host.memory();
    let settings = frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0x10, 0]).repeat(1000);
    let pings = frame(PING, 0, 0, b"12345678").repeat(1000);
    for (what, first, frames) in [
        ("settings", &[][..], &settings),
        ("pings", &[], &pings),
        ("pings after a request", &frame(HEADERS, END_STREAM | END_HEADERS, 1, LIVEZ), &pings),
    ] {
        let background_client = BackgroundClient::start(client.clone(), "elara").await;
        let mut connection = RawConnection::open(host.address()).await;
        connection.send(PREFACE).await;
        connection.send(first).await;
        connection.flood_and_read(frames).await;
        background_client.finish(what).await;
    }
    let grown = host.memory().saturating_sub(before);
    assert!(grown < MAX_GROWTH, "they cost {} MiB", grown >> 20);
}
