//! Another server takes over, or a part of a cluster is away.

use masque_store::{InboxMessage, Recipient, TurnId};
use masque_store_redis::testing::{TestCluster, TestSentinel};
use uuid::Uuid;

use crate::fixtures::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_follows_the_sentinels_to_the_server_that_took_over() {
    let mut servers = TestSentinel::start();
    let installation = Uuid::now_v7();
    let (one, two) = (
        host_of(&servers.url(), installation, 1, 2).await,
        host_of(&servers.url(), installation, 2, 2).await,
    );
    assert!(is_connected(&one) && is_connected(&two));
    servers.primary.kill();
    eventually("both notice", async || !is_connected(&one) && !is_connected(&two)).await;
    until_connected(&one).await;
    until_connected(&two).await;
    let turn = TurnId::new();
    assert!(one.events.append(turn, 1, 0, &["zero".into()], false).await);
    assert_eq!(two.events.read(turn, 0).await.unwrap().total, 1);
    one.inbox.send(Recipient::Host(host_id(2)), InboxMessage::CancelTurn(turn)).await;
    eventually("the message comes", async || next_message(&two).await == InboxMessage::CancelTurn(turn))
        .await;

    // The other way round, once the first server is back.
    std::mem::swap(&mut servers.primary, &mut servers.replica);
    servers.rejoin();
    let before = servers.replica.calls("evalsha");
    servers.fail_over();
    until_connected(&one).await;
    eventually("a script runs on the first server", async || {
        take(&*one.rates, "ana", quota(1000, 1000)).await;
        servers.primary.calls("evalsha") > before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_one_of_its_nodes_is_done_without_until_the_node_is_back() {
    let mut cluster = TestCluster::start();
    let shared = host(&cluster.url()).await;
    assert!(is_connected(&shared), "{}", reason(&shared));
    for node in 0..3 {
        cluster.nodes[node].kill();
        eventually("the host notices", async || !is_connected(&shared)).await;
        assert!(!take(&*shared.rates, "ana", quota(1, 5)).await.allowed);
        cluster.nodes[node].restart();
        cluster.wait_until_complete();
        until_connected(&shared).await;
        assert!(shared.events.append(TurnId::new(), 1, 0, &["zero".into()], false).await);
    }
}
