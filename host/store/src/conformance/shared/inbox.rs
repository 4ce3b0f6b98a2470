//! Messages between hosts. What is local to one process reaches the host itself only.

use tokio::time::timeout;

use super::*;
use crate::{Inbox, InboxMessage, Recipient, Shared, TurnId};

/// The next message. An implementation may say that messages may have been missed, before the first one.
async fn next(inbox: &Arc<dyn Inbox>) -> InboxMessage {
    loop {
        match timeout(Duration::from_secs(60), inbox.receive()).await.expect("no message came") {
            InboxMessage::MayHaveMissed => {}
            message => return message,
        }
    }
}

/// A message that tells of `turn`, so that tests recognise it.
fn wake(turn: TurnId) -> InboxMessage {
    InboxMessage::WakeTurn(turn)
}

async fn hosts(fixture: &dyn SharedFixture) -> (Shared, Shared) {
    (fixture.host(host_id(1)).await, fixture.host(host_id(2)).await)
}

pub async fn messages_arrive_in_order(fixture: &dyn SharedFixture) {
    let (one, two) = hosts(fixture).await;
    let turns: Vec<TurnId> = (0..50).map(|_| TurnId::new()).collect();
    // In one process, a host reaches itself only.
    let (sender, to) = if one.events.is_shared() { (&two, host_id(1)) } else { (&one, host_id(1)) };
    for turn in &turns {
        sender.inbox.send(Recipient::Host(to), InboxMessage::CancelTurn(*turn)).await;
        sender.inbox.send(Recipient::Host(to), InboxMessage::Reading(*turn)).await;
    }
    for turn in &turns {
        assert_eq!(next(&one.inbox).await, InboxMessage::CancelTurn(*turn));
        assert_eq!(next(&one.inbox).await, InboxMessage::Reading(*turn));
    }
}

pub async fn a_message_to_one_host_reaches_no_other(fixture: &dyn SharedFixture) {
    let (one, two) = hosts(fixture).await;
    let (to_itself, to_other, last) = (TurnId::new(), TurnId::new(), TurnId::new());
    one.inbox.send(Recipient::Host(host_id(2)), wake(to_other)).await;
    one.inbox.send(Recipient::Host(host_id(1)), wake(to_itself)).await;
    two.inbox.send(Recipient::Host(host_id(2)), wake(last)).await;
    assert_eq!(next(&one.inbox).await, wake(to_itself));
    if one.events.is_shared() {
        let both = [next(&two.inbox).await, next(&two.inbox).await];
        assert!(both.contains(&wake(to_other)) && both.contains(&wake(last)), "{both:?}");
    } else {
        assert_eq!(next(&two.inbox).await, wake(last));
    }
}

pub async fn a_message_to_all_reaches_every_host_once(fixture: &dyn SharedFixture) {
    let (one, two) = hosts(fixture).await;
    let (all, last) = (TurnId::new(), TurnId::new());
    one.inbox.send(Recipient::All, wake(all)).await;
    one.inbox.send(Recipient::Host(host_id(1)), wake(last)).await;
    assert_eq!(next(&one.inbox).await, wake(all));
    assert_eq!(next(&one.inbox).await, wake(last));
    if one.events.is_shared() {
        one.inbox.send(Recipient::Host(host_id(2)), wake(last)).await;
        assert_eq!(next(&two.inbox).await, wake(all));
        assert_eq!(next(&two.inbox).await, wake(last));
    }
}

pub async fn a_receiver_that_goes_away_loses_no_message(fixture: &dyn SharedFixture) {
    let one = fixture.host(host_id(1)).await;
    let turns: Vec<TurnId> = (0..200).map(|_| TurnId::new()).collect();
    let sender = one.inbox.clone();
    let sent = turns.clone();
    let sending = tokio::spawn(async move {
        for turn in sent {
            sender.send(Recipient::Host(host_id(1)), wake(turn)).await;
            tokio::task::yield_now().await;
        }
    });
    let mut received = Vec::new();
    while received.len() < turns.len() {
        // Each wait is given up at once unless a message is there.
        match timeout(Duration::ZERO, one.inbox.receive()).await {
            Ok(InboxMessage::WakeTurn(turn)) => received.push(turn),
            Ok(_) => {}
            Err(_) => tokio::task::yield_now().await,
        }
    }
    sending.await.unwrap();
    assert_eq!(received, turns);
}
