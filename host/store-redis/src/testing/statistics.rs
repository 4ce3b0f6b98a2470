//! What a server counts of the commands that it was sent.

use redis::Value;

use super::server::TestServer;

impl TestServer {
    /// How often this command was run since the server started, such as `evalsha`.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn calls(&self, command: &str) -> u64 {
        let text = match self.command(&["INFO", "commandstats"]) {
            Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
            Value::VerbatimString { text, .. } => text,
            other => panic!("no statistics: {other:?}"),
        };
        let counted = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        counted.and_then(|rest| rest.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
    }
}
