//! What operations were made so far, and random parts of the next one: mostly what earlier ones made.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use masque_store::conformance::fixtures::{LONG, OVER, said};
use masque_store::{
    Ability, Admission, ConversationId, Idempotency, JobId, MessageId, NewJob, NewMessage, Owner, TailLimit,
    Target, TurnId, UsageRecord, Waiting,
};
use serde_json::json;
use uuid::Uuid;

use crate::basics::{hosts, owners};
use crate::normalise::Learned;

/// A turn that was started.
#[derive(Clone)]
pub(crate) struct TurnOf {
    pub(crate) owner: Owner,
    pub(crate) conversation: ConversationId,
    pub(crate) turn: TurnId,
    pub(crate) epoch: i64,
}

/// What operations can name. All of it, whether it still exists or not.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) conversations: Vec<(Owner, ConversationId)>,
    pub(crate) messages: Vec<MessageId>,
    pub(crate) turns: Vec<TurnOf>,
    pub(crate) enqueued: Vec<JobId>,
    pub(crate) taken: Vec<(JobId, i64)>,
    pub(crate) keys: u8,
    /// Admissions that were told to wait.
    waiting: Vec<Admission>,
    /// The newest report of each host.
    pub(crate) revisions: HashMap<Uuid, u64>,
    pub(crate) receipts: Vec<Uuid>,
    /// The admission that was made last.
    admitted: Option<Admission>,
}

const WORDS: [&str; 8] = ["Hello", "And you?", " Hello\n", "é🎭", "", "a\"\\\u{1}b", "{\"x\":1}", "a\0b"];
pub(crate) const PLUGINS: [&str; 3] = ["window", "card", "Zeta"];
pub(crate) const COMPANIONS: [&str; 3] = ["elara", "bran", "Éowyn"];

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            conversations: Vec::new(),
            messages: Vec::new(),
            turns: Vec::new(),
            enqueued: Vec::new(),
            taken: Vec::new(),
            keys: 0,
            waiting: Vec::new(),
            revisions: HashMap::new(),
            receipts: Vec::new(),
            admitted: None,
        }
    }

    /// Remembers what an operation made.
    pub(crate) fn learn(&mut self, learned: &Learned) {
        match learned {
            Learned::Nothing => {}
            Learned::Started(started) => {
                let Some(Admission { owner, turn, .. }) = self.admitted.take() else { return };
                self.waiting.retain(|waiting| waiting.turn != turn);
                self.messages.push(started.message.id);
                self.turns.push(TurnOf {
                    owner,
                    conversation: started.conversation,
                    turn: started.turn,
                    epoch: started.epoch,
                });
            }
            Learned::Waits => self.waiting.extend(self.admitted.take()),
            Learned::Jobs(jobs) => self.taken.extend(jobs),
        }
    }

    pub(crate) fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.rng.usize(..items.len())].clone()
    }

    pub(crate) fn owner(&mut self) -> Owner {
        self.pick(&owners())
    }

    pub(crate) fn text(&mut self) -> String {
        self.pick(&WORDS).to_owned()
    }

    pub(crate) fn message(&mut self) -> NewMessage {
        let mut message = said(&self.text());
        if self.rng.u8(..) < 4 && !self.messages.is_empty() {
            message.id = self.pick(&self.messages.clone());
        }
        message.metadata =
            self.pick(&[json!({}), json!({ "b": [1, 2.5, null], "a": "é" }), json!({ "x": "\0" })]);
        message
    }

    /// A conversation of its owner, mostly a new one of the list.
    pub(crate) fn conversation(&mut self) -> (Owner, ConversationId) {
        let Some(newest) = self.conversations.len().checked_sub(1) else {
            return (self.owner(), ConversationId::new());
        };
        match self.rng.u8(..20) {
            0 => (self.owner(), ConversationId::new()),
            1 => (self.owner(), self.conversations[newest].1),
            _ => self.conversations[newest - self.rng.usize(..=newest.min(4))].clone(),
        }
    }

    /// A turn, mostly the one that was started last. Seldom with an epoch that is not its own.
    pub(crate) fn turn(&mut self) -> TurnOf {
        let newest = self.turns.len().checked_sub(1);
        let Some(newest) = newest.filter(|_| self.rng.u8(..40) > 0) else {
            let (owner, conversation) = self.conversation();
            return TurnOf { owner, conversation, turn: TurnId::new(), epoch: 1 };
        };
        let back = if self.rng.bool() { 0 } else { self.rng.usize(..=newest.min(6)) };
        let mut turn = self.turns[newest - back].clone();
        match self.rng.u8(..40) {
            0 => turn.epoch += 1,
            1 => turn.owner = self.owner(),
            2 => turn.conversation = self.conversation().1,
            _ => {}
        }
        turn
    }

    pub(crate) fn job(&mut self) -> (JobId, i64) {
        match self.taken.len().checked_sub(1) {
            Some(newest) if self.rng.u8(..20) > 0 => {
                let (job, epoch) = self.taken[newest - self.rng.usize(..=newest.min(4))];
                (job, epoch + i64::from(self.rng.u8(..20) == 0))
            }
            _ => (JobId::new(), 1),
        }
    }

    pub(crate) fn jobs(&mut self) -> Vec<NewJob> {
        let count = self.pick(&[0, 0, 1, 1, 2, 3]);
        let made = (0..count).map(|_| NewJob {
            id: JobId::new(),
            plugin: self.pick(&PLUGINS).into(),
            ability: self.pick(&[Ability::Observe, Ability::Reflect]),
            payload: self.pick(&["", "{}", "é"]).into(),
        });
        let made: Vec<NewJob> = made.collect();
        self.enqueued.extend(made.iter().map(|job| job.id));
        made
    }

    pub(crate) fn lease(&mut self) -> Duration {
        self.pick(&[LONG, LONG, LONG, OVER])
    }

    pub(crate) fn usage(&mut self) -> UsageRecord {
        UsageRecord {
            input_tokens: self.pick(&[0, 11, u64::MAX]),
            output_tokens: 5,
            cached_tokens: 3,
            estimated: self.rng.bool(),
        }
    }

    pub(crate) fn tail(&mut self) -> TailLimit {
        TailLimit { messages: self.pick(&[0, 1, 3, 64]), bytes: self.pick(&[0, 7, 65536]) }
    }

    /// A turn that waits, if one does.
    pub(crate) fn waiting_turn(&mut self) -> TurnId {
        if self.waiting.is_empty() { TurnId::new() } else { self.pick(&self.waiting.clone()).turn }
    }

    fn waiting(&mut self) -> Option<Waiting> {
        let waits = self.rng.u8(..4) > 0;
        waits.then(|| Waiting {
            max: self.pick(&[0, 1, 2, 4, 4]),
            ttl: self.pick(&[LONG, LONG / 2, LONG, OVER]),
        })
    }

    /// One that waits looks again, or a new one.
    pub(crate) fn admission(&mut self) -> Admission {
        let newest = self.waiting.len().checked_sub(1).filter(|_| self.rng.u8(..3) == 0);
        let admission = match newest {
            Some(newest) => {
                let again = self.waiting[newest - self.rng.usize(..=newest.min(4))].clone();
                let waiting = if self.rng.u8(..4) == 0 { self.waiting() } else { again.waiting };
                Admission { lease: self.lease(), waiting, ..again }
            }
            None => self.new_admission(),
        };
        self.admitted = Some(admission.clone());
        admission
    }

    fn new_admission(&mut self) -> Admission {
        let again = self.rng.u8(..12) == 0;
        let (owner, target) = if self.rng.u8(..3) == 0 || self.conversations.is_empty() {
            let owner = self.owner();
            let id = if again { self.conversation().1 } else { ConversationId::new() };
            self.conversations.push((owner.clone(), id));
            let (companion, title) = (self.pick(&COMPANIONS).into(), self.text());
            (owner, Target::New { id, companion, title })
        } else {
            let (owner, id) = self.conversation();
            (owner, Target::Existing(id))
        };
        let key = self.rng.bool().then(|| Idempotency {
            route: "/chat".into(),
            key: self.pick(&["k1", "k2", "k3"]).into(),
            digest: vec![self.pick(&[7, 7, 7, 8])],
            ttl: self.lease(),
        });
        Admission {
            owner,
            host: self.pick(&hosts()),
            lease: self.lease(),
            turn: if self.rng.u8(..12) == 0 { self.turn().turn } else { TurnId::new() },
            target,
            companion: self.pick(&[None, None, None, Some("elara".to_owned())]),
            companions: Arc::new(
                self.pick(&[&COMPANIONS[..], &COMPANIONS[..], &COMPANIONS[..1]])
                    .iter()
                    .map(|&name| name.to_owned())
                    .collect(),
            ),
            message: self.message(),
            idempotency: key,
            resume: self.rng.u8(..6) > 0,
            tail: self.tail(),
            waiting: self.waiting(),
        }
    }
}
