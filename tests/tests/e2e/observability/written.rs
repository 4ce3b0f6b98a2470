//! Everything that a host writes and shows to operators, for a search.

use std::path::Path;

use masque_store_postgres::testing::{TestDatabase, TestServer};
use masque_telemetry::testing::Collector;
use masque_tests::{Client, Host, eventually};
use serde_json::Value;

/// Where something was written, and what.
pub(super) type Places = Vec<(String, Vec<u8>)>;

/// What of a host holds no text of a message: log, spans, metrics, health, status and the audit log.
pub(super) async fn outputs(host: &Host, collector: &Collector) -> Places {
    let mut places = vec![("the log".to_owned(), host.log().into_bytes())];
    let spans: Vec<u8> = collector.requests().iter().flat_map(|request| request.body.to_vec()).collect();
    places.push(("the exported spans".to_owned(), spans));
    let (operators, socket) = (host.operators().await, host.socket());
    for (name, accept) in [("text", "text/plain"), ("OpenMetrics", "application/openmetrics-text")] {
        let answer = operators.get("/metrics").header("accept", accept).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        places.push((format!("the metrics as {name}"), answer.text.into_bytes()));
    }
    for path in ["/status", "/admin/audit", "/admin/keys", "/admin/log"] {
        places.push((path.to_owned(), shown(&socket, path).await));
    }
    for path in ["/health", "/health?verbose", "/readyz?verbose", "/livez?verbose"] {
        places.push((path.to_owned(), shown(&operators, path).await));
    }
    places
}

async fn shown(client: &Client, path: &str) -> Vec<u8> {
    let answer = client.get(path).send().await;
    // A host without one of its servers says so with another status.
    assert!(matches!(answer.status, 200 | 503), "{path}: {}", answer.text);
    answer.text.into_bytes()
}

/// The explanations of these turns, as the machine's operator sees them and as the command line prints them.
pub(super) async fn explanations(host: &Host, turns: &[String]) -> Places {
    let mut places = Vec::new();
    let data = host.data().to_str().unwrap().to_owned();
    for turn in turns {
        let path = format!("/turns/{turn}/explain");
        let answer = eventually("the record of a turn", || async {
            let answer = host.socket().get(&path).send().await;
            (answer.status == 200).then_some(answer)
        })
        .await;
        places.push((path, answer.text.into_bytes()));
        for words in [&["--json"][..], &[]] {
            let printed = host.run(&[&["explain", turn, "--data", &data], words].concat()).await;
            assert!(printed.status.success(), "{}", printed.text);
            places.push((format!("masque explain {turn} {}", words.concat()), printed.text.into_bytes()));
        }
    }
    places
}

/// The turns of a user, as their export lists them.
pub(super) async fn turns_of(user: &Client) -> Vec<String> {
    let export = user.get("/users/me/data").send().await.expect(200);
    let turns = export["turns"].as_array().unwrap().iter();
    turns.map(|turn: &Value| turn["turn_id"].as_str().unwrap().to_owned()).collect()
}

/// The rows of every table, as text, followed by what their columns of bytes hold.
pub(super) fn rows(server: &TestServer, database: &TestDatabase) -> Places {
    let tables = server
        .psql(&database.name, "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'");
    let rows = |table: &str| server.psql(&database.name, &format!("SELECT row::text FROM {table} row"));
    tables
        .lines()
        .map(|table| {
            let mut written = rows(table).into_bytes();
            let bytes = bytes_in(&written);
            written.extend(bytes);
            (format!("the table {table}"), written)
        })
        .collect()
}

/// What the columns of bytes in the text of rows hold, one after the other: PostgreSQL writes them as `\x` and hexadecimal digits.
fn bytes_in(rows: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|value| u8::try_from(value).unwrap());
    let mut found = Vec::new();
    for begin in memchr::memmem::find_iter(rows, b"\\x") {
        let digits = rows[begin + 2..].iter().map_while(digit).collect::<Vec<_>>();
        found.extend(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]));
        found.push(b'\n');
    }
    found
}

/// The bytes of every file below a folder.
pub(super) fn files(folder: &Path) -> Places {
    let mut places = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            places.extend(files(&path));
        } else if path.is_file() {
            // A file that the host removes meanwhile is not there.
            places.push((path.display().to_string(), std::fs::read(&path).unwrap_or_default()));
        }
    }
    places
}
