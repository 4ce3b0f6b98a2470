//! Takes all connections of a server, as other programs on it do.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this module is only used by tests: it fails by panicking"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use super::server::TestServer;

/// Connections that do nothing. They are closed when this value is dropped.
#[derive(Debug)]
pub struct HeldConnections(Vec<Child>);

impl TestServer {
    /// Opens connections of `user` to `database` until the server has none left for this user. One who may do everything
    /// still finds some, which the server reserves.
    ///
    /// # Panics
    /// If a connection is refused for another reason.
    pub fn hold_all_connections(&self, user: &str, database: &str) -> HeldConnections {
        let mut held = HeldConnections(Vec::new());
        loop {
            let mut client = Command::new(self.program("psql"))
                .args(["-X", "-q", "-t", "-A", "-d", &self.url(user, database)])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // A client that was refused has closed its input, or does not read it.
            let _refused = client.stdin.as_mut().unwrap().write_all(b"SELECT 'connected';\n");
            let mut line = String::new();
            BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            if line.trim() == "connected" {
                held.0.push(client);
                continue;
            }
            let mut reason = String::new();
            client.stderr.take().unwrap().read_to_string(&mut reason).unwrap();
            client.wait().unwrap();
            let is_full =
                ["connection slots are reserved", "too many"].iter().any(|words| reason.contains(words));
            assert!(is_full, "refused for another reason: {reason}");
            return held;
        }
    }
}

impl HeldConnections {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Drop for HeldConnections {
    fn drop(&mut self) {
        for client in &mut self.0 {
            // The client ends with its input, and its connection with it.
            drop(client.stdin.take());
            if let Err(error) = client.wait() {
                tracing::warn!(%error, "a client of a PostgreSQL server can't be waited for");
            }
        }
    }
}
