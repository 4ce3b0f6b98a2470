//! Connects at the start, and again whenever the connection was lost, with growing waits.

use std::sync::{Arc, Weak};
use std::time::Duration;

use masque_store::{InProcessInbox, InProcessTurnSlots, InboxMessage};
use redis::{PushInfo, PushKind};
use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;
use crate::circuit::Circuit;
use crate::connecting::{OnPush, connect};
use crate::inbox::{receive_push, subscribe_on};
use crate::inspection::inspect_rights;
use crate::keys::Keys;
use crate::link::Link;
use crate::options::RedisOptions;
use crate::refusal::Refusal;
use crate::turn_slots::renew_on;

/// How long one try may take, all servers and checks included.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);

/// What is needed to connect, and to begin anew with a connection.
pub(crate) struct Reconnecting {
    pub(crate) options: RedisOptions,
    pub(crate) keys: Keys,
    pub(crate) circuit: Arc<Circuit>,
    pub(crate) inbox: Arc<InProcessInbox>,
    pub(crate) slots: Arc<InProcessTurnSlots>,
}

impl Reconnecting {
    /// Connects again whenever the connection is lost, for ever.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(self.inbox.host().as_u128());
        loop {
            backoff.lost(self.circuit.lost().await);
            while self.circuit.unavailable_since().is_some() {
                sleep(backoff.next()).await;
                if let Err(refusal) = self.try_once().await {
                    self.circuit.still_unavailable(refusal.into_reason());
                }
            }
        }
    }

    /// Connects, checks that all operations work, and uses the connection.
    pub(crate) async fn try_once(&self) -> Result<(), Refusal> {
        let number = self.circuit.next_number();
        let link = timeout(TRY_TIMEOUT, self.prepare(number))
            .await
            .unwrap_or_else(|_| Err(Refusal::Transient("it does not answer in time".into())))?;
        self.circuit.connect(link, number);
        // Not before the connection is in use: who looks into the store because of it must miss nothing that comes later.
        self.inbox.deliver(InboxMessage::MayHaveMissed);
        Ok(())
    }

    async fn prepare(&self, number: u64) -> Result<Link, Refusal> {
        let link = connect(&self.options, self.on_push(number)).await?;
        let target = self.options.target();
        inspect_rights(&link, &self.keys, &target).await?;
        let refuse = |error| Refusal::of(&error, &target);
        subscribe_on(&link, &self.keys, self.inbox.host()).await.map_err(refuse)?;
        let held = self.slots.held();
        renew_on(&link, &self.keys, &held.iter().collect::<Vec<_>>()).await.map_err(refuse)?;
        Ok(link)
    }

    /// What is done with the pushes of a connection. The connection does not keep this host's memory alive.
    fn on_push(&self, number: u64) -> OnPush {
        let (circuit, inbox): (Weak<Circuit>, Weak<InProcessInbox>) =
            (Arc::downgrade(&self.circuit), Arc::downgrade(&self.inbox));
        Arc::new(move |push: PushInfo| match push.kind {
            PushKind::Message => {
                if let Some(inbox) = inbox.upgrade() {
                    receive_push(push, &inbox);
                }
            }
            PushKind::Disconnection => {
                if let Some(circuit) = circuit.upgrade() {
                    circuit.lose(number, "the connection was lost".into());
                }
            }
            _ => {}
        })
    }
}
