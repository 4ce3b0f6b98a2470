//! A cluster of three nodes, without replicas.

use redis::Value;

use super::server::{TestServer, free_port, wait_until};

/// The slots of each node.
const SLOTS: [[&str; 2]; 3] = [["0", "5460"], ["5461", "10922"], ["10923", "16383"]];

/// A cluster of three nodes, without replicas: if one is away, no node answers.
#[derive(Debug)]
pub struct TestCluster {
    /// The nodes.
    pub nodes: Vec<TestServer>,
}

impl TestCluster {
    /// Starts it. Takes a few seconds.
    ///
    /// # Panics
    /// If a node does not start, or the nodes do not find each other.
    pub fn start() -> Self {
        let start = |_| {
            // By default the nodes talk on a port that is 10000 higher, which may not exist.
            let bus = free_port().to_string();
            let node = TestServer::start_with(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--cluster-port",
                &bus,
            ]);
            (node, bus)
        };
        let nodes: Vec<(TestServer, String)> = (0..3).map(start).collect();
        for ((node, _), [first, last]) in nodes.iter().zip(SLOTS) {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
            for (other, bus) in &nodes {
                let port = other.port().to_string();
                node.command(&["CLUSTER", "MEET", "127.0.0.1", &port, bus]);
            }
        }
        let cluster = Self { nodes: nodes.into_iter().map(|(node, _)| node).collect() };
        cluster.wait_until_complete();
        cluster
    }

    /// Waits until all nodes see all others.
    ///
    /// # Panics
    /// If they do not within half a minute.
    pub fn wait_until_complete(&self) {
        for node in &self.nodes {
            wait_until("the cluster is complete", || match node.try_command(&["CLUSTER", "INFO"]) {
                Ok(Value::BulkString(info)) => {
                    let info = String::from_utf8_lossy(&info).into_owned();
                    info.contains("cluster_state:ok") && info.contains("cluster_size:3")
                }
                Ok(Value::VerbatimString { text: info, .. }) => {
                    info.contains("cluster_state:ok") && info.contains("cluster_size:3")
                }
                _ => false,
            });
        }
    }

    /// The URL, with the first two nodes.
    pub fn url(&self) -> String {
        let nodes: Vec<String> =
            self.nodes.iter().take(2).map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{}", nodes.join(","))
    }
}
