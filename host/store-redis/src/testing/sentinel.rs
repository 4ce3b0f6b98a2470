//! A primary, a replica, and a sentinel that makes the replica the primary if the primary is away.

use redis::Value;

use super::server::{TestServer, wait_until};

/// A primary, a replica and a sentinel, which knows them as `masque`.
#[derive(Debug)]
pub struct TestSentinel {
    /// The primary.
    pub primary: TestServer,
    /// The replica; after a failover, the primary from before.
    pub replica: TestServer,
    /// The sentinel.
    pub sentinel: TestServer,
}

impl TestSentinel {
    /// Starts them, and waits until the sentinel knows the replica.
    ///
    /// # Panics
    /// If one does not start.
    pub fn start() -> Self {
        let primary = TestServer::start_with(&["--repl-diskless-sync-delay", "0"]);
        let port = primary.port().to_string();
        let replica = TestServer::start_with(&["--replicaof", "127.0.0.1", &port]);
        wait_until("the replica follows", || follows(&replica));
        let sentinel = TestServer::start_sentinel(&format!(
            "sentinel monitor masque 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds masque 500\n\
             sentinel failover-timeout masque 3000\n"
        ));
        wait_until(
            "the sentinel knows the replica",
            || matches!(sentinel.try_command(&["SENTINEL", "REPLICAS", "masque"]), Ok(Value::Array(all)) if all.len() == 1),
        );
        Self { primary, replica, sentinel }
    }

    /// Kills the primary, and waits until the sentinel has made the replica the primary.
    ///
    /// # Panics
    /// If it does not within half a minute.
    pub fn fail_over(&mut self) {
        self.primary.kill();
        wait_until("the replica is the primary", || is_primary(&self.replica));
        std::mem::swap(&mut self.primary, &mut self.replica);
    }

    /// Starts the server again that was killed, and waits until it follows the primary.
    ///
    /// # Panics
    /// If it does not within half a minute.
    pub fn rejoin(&mut self) {
        self.replica.restart();
        wait_until("the server from before follows", || follows(&self.replica));
    }

    /// The URL.
    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/masque", self.sentinel.port())
    }
}

/// The role of a server, with what belongs to it.
fn role(server: &TestServer) -> Vec<Value> {
    match server.try_command(&["ROLE"]) {
        Ok(Value::Array(role)) => role,
        _ => Vec::new(),
    }
}

fn is_primary(server: &TestServer) -> bool {
    matches!(role(server).first(), Some(Value::BulkString(name)) if name == b"master")
}

/// Whether the server is a replica that is connected to its primary.
fn follows(server: &TestServer) -> bool {
    matches!(role(server).get(3), Some(Value::BulkString(state)) if state == b"connected")
}
