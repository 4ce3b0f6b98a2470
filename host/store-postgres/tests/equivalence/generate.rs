//! Makes random operations.

use std::time::Duration;

use masque_store::conformance::fixtures::{LONG, OVER, entry, new_key};
use masque_store::{
    Commit, ConversationId, Failed, Interruption, JobCompletion, JobLimits, KeyHash, NewConversation,
    NewRevocation, Revoked, TurnId,
};
use serde_json::json;

use crate::basics::hosts;
use crate::operation::Operation;
use crate::world::{COMPANIONS, PLUGINS, TurnOf, World};

impl World {
    /// The next operation. About half of them are of turns.
    pub(crate) fn next(&mut self) -> Operation {
        match self.rng.u8(..100) {
            0..22 => Operation::Admit(Box::new(self.admission())),
            22..43 => self.end_of_turn(),
            43..54 => self.of_conversations(),
            54..66 => self.of_jobs(),
            66..77 => self.of_state(),
            77..83 => self.of_spending(),
            83..88 => self.of_keys(),
            88..94 => self.of_user_data(),
            _ => self.of_hosts(),
        }
    }

    fn end_of_turn(&mut self) -> Operation {
        let TurnOf { owner, conversation, turn, epoch } = self.turn();
        match self.rng.u8(..10) {
            0..6 => {
                let response =
                    self.pick(&[json!({ "reply": "Hi" }), json!({ "a": [{ "b": "Fine" }] }), json!(null)]);
                Operation::Commit(Box::new(Commit {
                    owner,
                    conversation,
                    turn,
                    epoch,
                    reply: self.message(),
                    finish: "stop".into(),
                    usage: self.usage(),
                    response,
                    jobs: self.jobs(),
                }))
            }
            6..8 => Operation::Interrupt(Box::new(Interruption {
                owner,
                conversation,
                turn,
                epoch,
                reply: self.rng.bool().then(|| self.message()),
                usage: self.usage(),
                jobs: self.jobs(),
            })),
            8 => {
                let problem = json!({ "type": "upstream", "detail": self.text() });
                Operation::Fail(Box::new(Failed { owner, conversation, turn, epoch, problem }))
            }
            _ => Operation::Turn(owner, turn),
        }
    }

    fn of_conversations(&mut self) -> Operation {
        let (owner, id) = self.conversation();
        let limit = self.pick(&[1, 2, 3, 1000]);
        match self.rng.u8(..20) {
            0..3 => {
                let (owner, id) =
                    (self.owner(), if self.rng.u8(..10) == 0 { id } else { ConversationId::new() });
                self.conversations.push((owner.clone(), id));
                let companion = self.pick(&COMPANIONS).into();
                let title = self.rng.bool().then(|| self.text());
                let greeting = self.rng.bool().then(|| self.message());
                Operation::Create(owner, NewConversation { id, companion, title, greeting })
            }
            3 => Operation::Conversation(owner, id),
            4 | 5 => Operation::Conversations(owner, None, limit),
            6 | 7 => {
                let companions = self.pick(&[&COMPANIONS[..], &COMPANIONS[1..], &COMPANIONS[..0]]);
                let companions = companions.iter().map(|&name| name.to_owned()).collect();
                Operation::Conversations(owner, Some(companions), limit)
            }
            8 | 9 => Operation::Rename(owner, id, self.text()),
            10 if self.rng.u8(..12) == 0 => Operation::ForgetConversations(self.pick(&[LONG, OVER])),
            10 | 11 => Operation::Delete(owner, id),
            12..16 => Operation::Messages(owner, id, limit),
            16 => {
                let messages = self.messages.clone();
                let count = self.rng.usize(..4).min(messages.len());
                Operation::MessagesById(owner, (0..count).map(|_| self.pick(&messages)).collect())
            }
            17 | 18 => {
                let messages = self.messages.clone();
                let before = (!messages.is_empty() && self.rng.bool()).then(|| self.pick(&messages));
                Operation::MessagesBefore(owner, id, before, self.tail())
            }
            _ => Operation::WrongCursor(owner, id),
        }
    }

    fn of_jobs(&mut self) -> Operation {
        let (job, epoch) = self.job();
        match self.rng.u8(..20) {
            0..6 => {
                // All or none: which ones are taken within other limits depends on clocks.
                let limits = JobLimits::total(self.pick(&[0, 1000, 1000, 1000]));
                let plugins = self.pick(&[None, None, Some(&PLUGINS[..2]), Some(&PLUGINS[2..]), Some(&[])]);
                let plugins = plugins.map(|names| names.iter().map(|&name| name.to_owned()).collect());
                Operation::Take(self.pick(&hosts()), self.lease(), limits, plugins)
            }
            6..11 => {
                let writes = if self.rng.bool() { Vec::new() } else { self.writes() };
                Operation::Complete(job, epoch, JobCompletion::writing(writes))
            }
            11 | 12 => Operation::Retry(job, epoch, self.pick(&[LONG, OVER])),
            13 | 14 => Operation::Park(job, epoch),
            15 => Operation::Release(job, epoch),
            16 => {
                let jobs = self.taken.iter().rev().take(4).map(|(job, _)| *job).collect();
                Operation::RenewJobs(self.pick(&hosts()), jobs, self.lease())
            }
            17 => Operation::JobCounts,
            18 => Operation::ParkedJobs,
            _ => match self.enqueued.clone() {
                jobs if jobs.is_empty() => Operation::ForgetParked(LONG),
                _ if self.rng.u8(..10) == 0 => Operation::ForgetParked(OVER),
                jobs => Operation::RetryParked(self.pick(&jobs)),
            },
        }
    }

    fn of_state(&mut self) -> Operation {
        match self.rng.u8(..10) {
            0..6 => Operation::StateWrite(self.fence(), self.writes()),
            6 | 7 => Operation::StateGet(self.state_key()),
            8 => Operation::StateBytes(self.space()),
            _ => Operation::StateList(
                self.space(),
                self.pick(&["", "a", "é", "b"]).into(),
                self.pick(&[1, 2, 1000]),
            ),
        }
    }

    fn of_keys(&mut self) -> Operation {
        let id = self.key_id();
        match self.rng.u8(..12) {
            0 | 1 => {
                self.keys += 1;
                let mut key = new_key(self.keys - u8::from(self.rng.u8(..8) == 0));
                key.companions = self.pick(&[None, Some(Vec::new()), Some(vec!["elara".to_owned()])]);
                key.expires_at = self.pick(&[None, Some(1), Some(i64::MAX)]);
                key.name = self.text();
                Operation::CreateKey(Box::new(key), entry("key.create"))
            }
            2 => Operation::RotateKey(id, KeyHash([self.rng.u8(..); 32]), self.lease(), entry("key.rotate")),
            3 => Operation::RevokeKey(id, entry("key.revoke")),
            4 => Operation::Key(id),
            5 => Operation::Keys(self.pick(&[1, 2, 1000])),
            6 | 7 => {
                let subject = || "ada".to_owned();
                let what = self.pick(&[
                    Revoked::Token { jti: "t1".into() },
                    Revoked::Token { jti: "a\0".into() },
                    Revoked::User { subject: subject(), tenant: None },
                    Revoked::User { subject: subject(), tenant: Some("other".into()) },
                ]);
                Operation::Revoke(NewRevocation { issuer: "local".into(), what }, entry("token.revoke"))
            }
            8 | 9 => Operation::Security,
            10 => Operation::SecuritySince(self.rng.i64(0..12)),
            _ => Operation::Audit(self.pick(&[1, 3, 1000])),
        }
    }

    fn of_hosts(&mut self) -> Operation {
        match self.rng.u8(..7) {
            0 | 1 => {
                let mut turns: Vec<TurnId> = self.turns.iter().rev().take(4).map(|turn| turn.turn).collect();
                // Once for each turn, however many attempts there were.
                turns.sort_unstable();
                turns.dedup();
                Operation::Heartbeat(self.pick(&hosts()), turns, self.pick(&[LONG, LONG, Duration::ZERO]))
            }
            2 => {
                let host = self.pick(&hosts());
                Operation::Recover(host, self.returns_of_others(host))
            }
            3 => Operation::StopWaiting(self.conversation().1, self.waiting_turn()),
            4 => {
                let TurnOf { owner, turn, .. } = self.turn();
                Operation::RequestCancel(owner, turn)
            }
            5 => Operation::Keyed(self.owner(), self.pick(&["k1", "k2", "k3"]).into()),
            _ => Operation::Sweep,
        }
    }

    /// Operations that read everything that is stored.
    pub(crate) fn reads(&mut self) -> Vec<Operation> {
        let mut reads = vec![Operation::Sweep, Operation::JobCounts, Operation::ParkedJobs];
        reads.extend([Operation::Keys(7), Operation::Security, Operation::Audit(7)]);
        for owner in crate::basics::owners() {
            reads.push(Operation::Conversations(owner, None, 7));
        }
        for (owner, id) in self.conversations.clone() {
            reads.push(Operation::Conversation(owner.clone(), id));
            reads.push(Operation::Messages(owner, id, 7));
        }
        reads.extend(self.turns.iter().map(|turn| Operation::Turn(turn.owner.clone(), turn.turn)));
        for _ in 0..40 {
            let key = self.state_key();
            reads.push(Operation::StateBytes(key.space.clone()));
            reads.push(Operation::StateList(key.space.clone(), String::new(), 3));
            reads.push(Operation::StateGet(key));
        }
        reads.extend(self.reads_of_spending());
        reads.extend(self.reads_of_user_data());
        reads
    }
}
