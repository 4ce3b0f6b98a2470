//! A primary, a replica, and a sentinel that makes the replica the primary if the primary is away.

use redis::Value;

use super::server::{TestServer, wait_until};

/// A primary, a replica and a sentinel, which knows them as `masque`.
#[derive(Debug)]
pub struct TestSentinel {
    /// The primary at the beginning.
    pub primary: TestServer,
    /// The replica at the beginning.
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
        wait_until("the replica follows", || {
            matches!(replica.try_command(&["ROLE"]), Ok(Value::Array(role))
                if matches!(role.get(3), Some(Value::BulkString(state)) if state == b"connected"))
        });
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

    /// The URL.
    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/masque", self.sentinel.port())
    }
}
