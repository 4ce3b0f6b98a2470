//! The logs of turns, for readers on any host.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    EVENT_PAGE_BYTES, EventPage, RUNNING_TURN_EVENTS_RETENTION, TURN_EVENTS_RETENTION, TurnEvents, TurnId,
};
use redis::RedisResult;

use crate::circuit::Circuit;
use crate::keys::Keys;
use crate::link::Link;
use crate::script::{APPEND_EVENTS, READ_EVENTS};

/// [`TurnEvents`] on Redis.
pub(crate) struct RedisTurnEvents {
    pub(crate) circuit: Arc<Circuit>,
    pub(crate) keys: Keys,
}

/// What is appended to a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Append<'a> {
    pub(crate) attempt: u32,
    pub(crate) first: u64,
    pub(crate) events: &'a [String],
    pub(crate) has_ended: bool,
}

/// Appends to a log by a connection. The log is kept for `retention`.
pub(crate) async fn append_on(
    link: &Link,
    keys: &Keys,
    turn: TurnId,
    append: Append<'_>,
    retention: Duration,
) -> RedisResult<bool> {
    let retention = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
    let call = APPEND_EVENTS.call(&keys.events(turn)).arg(append.attempt).arg(append.first);
    call.arg(u8::from(append.has_ended)).arg(retention).arg(append.events).run(link).await
}

/// Reads a page by a connection.
pub(crate) async fn read_on(
    link: &Link,
    keys: &Keys,
    turn: TurnId,
    from: u64,
) -> RedisResult<Option<EventPage>> {
    let call = READ_EVENTS.call(&keys.events(turn)).arg(from).arg(EVENT_PAGE_BYTES);
    let page: Option<(u32, u64, bool, Vec<String>)> = call.run(link).await?;
    Ok(page.map(|(attempt, total, has_ended, events)| EventPage { attempt, events, total, has_ended }))
}

#[async_trait]
impl TurnEvents for RedisTurnEvents {
    async fn append(
        &self,
        turn: TurnId,
        attempt: u32,
        first: u64,
        events: &[String],
        has_ended: bool,
    ) -> bool {
        let (keys, append) = (&self.keys, Append { attempt, first, events, has_ended });
        let retention = if has_ended { TURN_EVENTS_RETENTION } else { RUNNING_TURN_EVENTS_RETENTION };
        let appended = self
            .circuit
            .call(|link| async move { append_on(&link, keys, turn, append, retention).await })
            .await;
        appended.unwrap_or(false)
    }

    async fn read(&self, turn: TurnId, from: u64) -> Option<EventPage> {
        let keys = &self.keys;
        self.circuit.call(|link| async move { read_on(&link, keys, turn, from).await }).await.flatten()
    }

    fn is_shared(&self) -> bool {
        true
    }
}
