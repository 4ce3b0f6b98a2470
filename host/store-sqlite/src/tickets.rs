//! Tickets: places of turns that wait for a conversation.
//!
//! They are in memory and not in the database. One host uses the database, so tickets are worth nothing after its end, and a
//! turn that waits costs no write. They change while the writing thread admits a turn, so the order of the tickets is that of
//! the admissions. A transaction that is lost takes no ticket back: the request of a turn that began in it has failed, too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use masque_store::{Admission, AdmissionOutcome, ConversationId, TurnId, Waiter};
use uuid::Uuid;

use crate::columns::{lease_clock, lease_end, remaining};

/// The tickets of all conversations. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tickets(Arc<Mutex<Queues>>);

#[derive(Debug, Default)]
struct Queues {
    /// In order of arrival. No queue is empty.
    queues: HashMap<ConversationId, Vec<Ticket>>,
    /// Where each turn waits.
    places: HashMap<TurnId, ConversationId>,
}

#[derive(Debug)]
struct Ticket {
    turn: TurnId,
    host: Uuid,
    ends_at: i64,
}

impl Tickets {
    /// How a turn has to wait for a conversation whose lease is held until `held_until`, or free. `None` if it may begin: it
    /// keeps its ticket, which is to be removed once it has begun.
    pub(crate) fn wait(
        &self,
        conversation: ConversationId,
        admission: &Admission,
        held_until: Option<i64>,
    ) -> Option<AdmissionOutcome> {
        let now = lease_clock();
        let mut queues = self.lock();
        let queue = queues.living(conversation, now);
        let own = queue.iter().position(|ticket| ticket.turn == admission.turn);
        let first_other = queue.iter().position(|ticket| ticket.turn != admission.turn);
        let first_before = first_other.filter(|first| match (admission.waiting, own) {
            (Some(_), Some(own)) => *first < own,
            _ => true,
        });
        let ends_at = held_until
            .filter(|ends_at| *ends_at > now)
            .or_else(|| first_before.and_then(|first| queue.get(first)).map(|ticket| ticket.ends_at))?;
        let retry_after = remaining(ends_at.saturating_sub(now));

        let others = queue.len() - usize::from(own.is_some());
        let waiting = admission.waiting.filter(|waiting| own.is_some() || others < waiting.max as usize);
        match waiting {
            Some(waiting) => queues.keep(conversation, admission, lease_end(waiting.ttl)),
            None => queues.remove(admission.turn),
        }
        Some(AdmissionOutcome::Busy { retry_after, is_waiting: waiting.is_some() })
    }

    /// The turn that waits first.
    pub(crate) fn next(&self, conversation: ConversationId) -> Option<Waiter> {
        let mut queues = self.lock();
        let first = queues.living(conversation, lease_clock()).first()?;
        Some(Waiter { host: first.host, turn: first.turn })
    }

    /// Removes the ticket of a turn, if it has one.
    pub(crate) fn remove(&self, turn: TurnId) {
        self.lock().remove(turn);
    }

    /// Removes the tickets of a conversation that is gone.
    pub(crate) fn remove_conversation(&self, conversation: ConversationId) {
        self.lock().retain(conversation, |_| false);
    }

    /// Removes the tickets that have ended.
    pub(crate) fn sweep(&self) {
        let mut queues = self.lock();
        let now = lease_clock();
        for conversation in queues.queues.keys().copied().collect::<Vec<_>>() {
            queues.living(conversation, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    /// The tickets of a conversation that live. The others are removed.
    fn living(&mut self, conversation: ConversationId, now: i64) -> &[Ticket] {
        self.retain(conversation, |ticket| ticket.ends_at > now);
        self.queues.get(&conversation).map(Vec::as_slice).unwrap_or_default()
    }

    fn retain(&mut self, conversation: ConversationId, is_kept: impl Fn(&Ticket) -> bool) {
        let Some(queue) = self.queues.get_mut(&conversation) else { return };
        queue.retain(|ticket| {
            let is_kept = is_kept(ticket);
            if !is_kept {
                self.places.remove(&ticket.turn);
            }
            is_kept
        });
        if queue.is_empty() {
            self.queues.remove(&conversation);
        }
    }

    fn remove(&mut self, turn: TurnId) {
        if let Some(conversation) = self.places.get(&turn).copied() {
            self.retain(conversation, |ticket| ticket.turn != turn);
        }
    }

    /// Keeps the turn's place, or gives it the last one.
    fn keep(&mut self, conversation: ConversationId, admission: &Admission, ends_at: i64) {
        if self.places.get(&admission.turn) != Some(&conversation) {
            self.remove(admission.turn);
            self.places.insert(admission.turn, conversation);
        }
        let ticket = Ticket { turn: admission.turn, host: admission.host, ends_at };
        let queue = self.queues.entry(conversation).or_default();
        match queue.iter_mut().find(|kept| kept.turn == ticket.turn) {
            Some(kept) => *kept = ticket,
            None => queue.push(ticket),
        }
    }
}

#[cfg(test)]
mod tests {
    use masque_store::conformance::fixtures::{LONG, OVER, admission};
    use masque_store::{Target, Waiting};

    use super::*;

    fn waits(id: ConversationId, ttl: std::time::Duration) -> Admission {
        Admission { waiting: Some(Waiting { max: 4, ttl }), ..admission(Target::Existing(id), "Hello") }
    }

    #[test]
    fn nothing_is_kept_of_tickets_that_have_ended_or_were_given_back() {
        let tickets = Tickets::default();
        let held = Some(lease_end(LONG));
        let [gone, kept] = [ConversationId::new(), ConversationId::new()];
        tickets.wait(gone, &waits(gone, OVER), held);
        let given_back = waits(kept, LONG);
        tickets.wait(kept, &given_back, held);
        tickets.wait(kept, &waits(kept, LONG), held);
        tickets.sweep();
        tickets.remove(given_back.turn);
        let counts = || {
            let queues = tickets.lock();
            (queues.queues.len(), queues.places.len())
        };
        assert_eq!(counts(), (1, 1));
        tickets.remove_conversation(kept);
        assert_eq!(counts(), (0, 0));
    }
}
