//! The end of a turn, in the store and for its readers, in this order: no one is told that a turn is complete before
//! the exchange is on disk, and no turn that failed is left to hold its conversation.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use masque_store::{
    Charge, Commit, Ending, Failed, Interruption, MessageId, NewJob, NewMessage, Owner, Started, Store,
    StoreError, TurnId, TurnRecord, TurnStatus, UsageRecord,
};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::log::End;
use super::path::Draft;
use super::reply::{Timing, Whole};
use super::stop::Reason;
use crate::active::Companion;
use crate::jobs;
use crate::problem::{Kind, Problem};

/// Between two tries to put an end on disk that did not get there. The conversation stays taken meanwhile.
const RETRY: Duration = Duration::from_secs(2);

/// How the path was left.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The reply is whole.
    Whole,
    /// A plugin or the host failed.
    Failed(Problem),
    /// Someone asked the turn to end.
    Stopped(Reason),
    /// The admission did not reach the disk: there is nothing to end.
    NeverAdmitted(StoreError),
}

/// Ends turns in the store.
#[derive(Clone)]
pub(crate) struct Settler {
    store: Arc<dyn Store>,
    /// Told when there is background work.
    pub(crate) work: Arc<Notify>,
    /// Turns whose end has yet to reach the disk: they keep their leases.
    unwritten: Arc<Mutex<HashSet<TurnId>>>,
    /// The host stops: an end that can't be written is left to the next start.
    closing: CancellationToken,
}

/// A turn that is to be ended.
pub(crate) struct Settlement<'a> {
    pub(crate) owner: &'a Owner,
    /// Whose plugins look back on the exchange; `None` if the companion is no longer there.
    pub(crate) companion: Option<&'a Companion>,
    pub(crate) started: &'a Started,
    pub(crate) draft: Draft,
    pub(crate) timing: Timing,
    pub(crate) request_id: &'a str,
    /// To whose budgets it is counted.
    pub(crate) accounts: &'a [String],
}

/// How a turn has ended: for its readers, and for the log.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) end: End,
    pub(crate) status: TurnStatus,
}

/// What an attempt to end a turn without a whole reply writes.
enum Remains {
    Interruption(Interruption),
    Failure(Failed),
}

impl Remains {
    fn turn(&self) -> TurnId {
        match self {
            Self::Interruption(interruption) => interruption.turn,
            Self::Failure(failure) => failure.turn,
        }
    }
}

impl Settler {
    pub(crate) fn new(store: Arc<dyn Store>, closing: CancellationToken) -> Self {
        Self { store, work: Arc::new(Notify::new()), unwritten: Arc::default(), closing }
    }

    /// Turns that have ended for their readers and not yet in the store.
    pub(crate) fn unwritten(&self) -> Vec<TurnId> {
        self.pending().iter().copied().collect()
    }

    fn pending(&self) -> MutexGuard<'_, HashSet<TurnId>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn settle(&self, settlement: Settlement<'_>, outcome: Outcome) -> Settled {
        match outcome {
            Outcome::Whole => self.commit(settlement).await,
            Outcome::Failed(problem) => {
                let status = if settlement.draft.text.is_empty() {
                    TurnStatus::Failed
                } else {
                    TurnStatus::Interrupted
                };
                self.close(settlement, problem, status).await
            }
            Outcome::Stopped(reason) => {
                self.close(settlement, reason.problem(), TurnStatus::Interrupted).await
            }
            Outcome::NeverAdmitted(error) => failed(storage(&error), TurnStatus::Failed),
        }
    }

    /// The exchange, whole.
    async fn commit(&self, settlement: Settlement<'_>) -> Settled {
        let Settlement { owner, companion, started, ref draft, ref timing, .. } = settlement;
        let finish = draft.finish.unwrap_or("stop");
        let response = Whole {
            turn: started.turn,
            conversation: started.conversation,
            companion: &started.companion,
            content: &draft.text,
            finish,
            usage: draft.usage,
            timing,
        };
        let response = response.to_value();
        let reply = reply(draft, started);
        let jobs = jobs_after(companion, started, &reply, draft.usage, false);
        let work = !jobs.is_empty();
        let (conversation, turn, epoch) = (started.conversation, started.turn, started.epoch);
        let usage = draft.usage;
        let commit = Commit {
            owner: owner.clone(),
            conversation,
            turn,
            epoch,
            reply,
            finish: finish.to_owned(),
            usage,
            response: response.clone(),
            jobs,
            charge: charge(settlement.accounts, draft),
        };
        let error = match self.store.commit(commit).await {
            Ok(Ending::Done { .. }) => {
                self.wake(work);
                return Settled { end: End::Completed(Arc::new(response)), status: TurnStatus::Completed };
            }
            Ok(Ending::LeaseLost) => return failed(Reason::LeaseLost.problem(), TurnStatus::Failed),
            Err(error) => error,
        };
        tracing::error!(%error, "a reply could not be committed");
        // The bytes may have reached the disk though the answer did not reach us.
        if let Some(committed) = self.committed(owner, started).await {
            self.wake(work);
            return Settled { end: End::Completed(Arc::new(committed)), status: TurnStatus::Completed };
        }
        let problem = storage(&error);
        self.close_later(remains(&settlement, &problem, TurnStatus::Interrupted));
        failed(problem, TurnStatus::Interrupted)
    }

    /// The response of this attempt, if the store has it.
    async fn committed(&self, owner: &Owner, started: &Started) -> Option<Value> {
        let record = self.store.turn(owner, started.turn).await.ok()??;
        let TurnRecord { status: TurnStatus::Completed, attempt, response: Some(response), .. } = record
        else {
            return None;
        };
        (attempt == started.attempt).then_some(response)
    }

    /// What there is of the exchange.
    async fn close(&self, settlement: Settlement<'_>, problem: Problem, status: TurnStatus) -> Settled {
        let remains = remains(&settlement, &problem, status);
        match self.write(&remains).await {
            Ok(Ending::Done { .. }) => failed(problem, status),
            Ok(Ending::LeaseLost) => failed(Reason::LeaseLost.problem(), TurnStatus::Failed),
            Err(error) => {
                tracing::error!(%error, "the end of a turn could not be stored; trying again");
                self.close_later(remains);
                failed(problem, status)
            }
        }
    }

    /// Tries until the end is on disk: as long as it is not, the lease is renewed and the conversation is taken.
    fn close_later(&self, remains: Remains) {
        let settler = self.clone();
        settler.pending().insert(remains.turn());
        tokio::spawn(async move {
            let work = async {
                while let Err(error) = settler.write(&remains).await {
                    if !matches!(error, StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) {
                        tracing::error!(%error, "the end of a turn can't be stored");
                        return;
                    }
                    tokio::time::sleep(RETRY).await;
                }
            };
            settler.closing.run_until_cancelled(work).await;
            settler.pending().remove(&remains.turn());
        });
    }

    async fn write(&self, remains: &Remains) -> Result<Ending, StoreError> {
        match remains {
            Remains::Interruption(interruption) => {
                let ending = self.store.interrupt(interruption.clone()).await?;
                self.wake(!interruption.jobs.is_empty());
                Ok(ending)
            }
            Remains::Failure(failure) => self.store.fail(failure.clone()).await,
        }
    }

    fn wake(&self, work: bool) {
        if work {
            self.work.notify_one();
        }
    }
}

fn remains(settlement: &Settlement<'_>, problem: &Problem, status: TurnStatus) -> Remains {
    let Settlement { owner, companion, started, draft, request_id, accounts, .. } = settlement;
    let (conversation, turn, epoch) = (started.conversation, started.turn, started.epoch);
    if status == TurnStatus::Failed {
        let problem = problem.to_value(Some(request_id));
        return Remains::Failure(Failed { owner: (*owner).clone(), conversation, turn, epoch, problem });
    }
    let reply = reply(draft, started);
    let jobs = jobs_after(*companion, started, &reply, draft.usage, true);
    Remains::Interruption(Interruption {
        owner: (*owner).clone(),
        conversation,
        turn,
        epoch,
        reply: Some(reply).filter(|reply| !reply.content.is_empty()),
        usage: draft.usage,
        jobs,
        charge: charge(accounts, draft),
    })
}

fn jobs_after(
    companion: Option<&Companion>,
    started: &Started,
    reply: &NewMessage,
    usage: UsageRecord,
    interrupted: bool,
) -> Vec<NewJob> {
    companion.map(|companion| jobs::after(companion, started, reply, usage, interrupted)).unwrap_or_default()
}

/// What a turn is charged. A model tells what it used with its last words, so a turn that is cut off before them, or whose
/// model tells nothing, is charged by the length of what was said and asked: else whoever leaves in time would talk for
/// nothing.
fn charge(accounts: &[String], draft: &Draft) -> Charge {
    let UsageRecord { input_tokens, output_tokens, cached_tokens } = draft.usage;
    let told = |tokens: u64, bytes: usize| if tokens == 0 { tokens_in(bytes) } else { tokens };
    let usage = UsageRecord {
        input_tokens: told(input_tokens, draft.prompt_bytes),
        output_tokens: told(output_tokens, draft.text.len()),
        cached_tokens,
    };
    Charge { accounts: accounts.to_vec(), usage }
}

/// By the rule of thumb of most vocabularies: four bytes of text to a token.
fn tokens_in(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
}

/// It takes the place of what an earlier attempt left, and its id.
fn reply(draft: &Draft, started: &Started) -> NewMessage {
    NewMessage {
        id: started.kept.unwrap_or_else(MessageId::new),
        content: draft.text.clone(),
        metadata: json!({}),
    }
}

fn failed(problem: Problem, status: TurnStatus) -> Settled {
    Settled { end: End::Failed(problem), status }
}

/// What a client is told of the store's errors.
pub(crate) fn storage(error: &StoreError) -> Problem {
    match error {
        StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_) => Problem::from(Kind::StorageUnavailable),
        StoreError::Corrupt(_)
        | StoreError::Refused(_)
        | StoreError::FenceEnded
        | StoreError::Conflict(_)
        | StoreError::Internal(_) => {
            tracing::error!(%error, "the store could not do what it was asked");
            Problem::from(Kind::Internal)
        }
    }
}
