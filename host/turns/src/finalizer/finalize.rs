//! Writes the end of a turn to the store, and tries again in the background if the store is away.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use masque_problem::Problem;
use masque_store::{Ending, Owner, Started, Store, StoreError, TurnId, TurnRecord, TurnStatus, Waiter};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::outcome::{FinalizedTurn, FinishedTurn, TurnOutcome};
use super::records::{IncompleteTurn, commit_record, incomplete_record};
use crate::cancellation::CancelReason;
use crate::failure::store_problem;
use crate::log::TurnEnd;
use crate::unknown_outcome::{UNKNOWN_INTERVAL, UNKNOWN_LIMIT};
use crate::waiters::WakeUps;

/// The time between two attempts to write an end. The conversation stays busy meanwhile.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How long readers wait for an incomplete end to be stored. If the store hangs, they are told before it is.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Ends turns in the store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Finalizer {
    store: Arc<dyn Store>,
    /// Wakes the turn that waits for the conversation of one that has ended.
    wake_ups: WakeUps,
    /// Notified when a turn has left background jobs.
    new_jobs: Arc<Notify>,
    /// Turns that have ended for their readers but not yet in the store. Their leases are renewed.
    pending: Arc<Mutex<HashSet<TurnId>>>,
    /// The tasks that write ends in the background.
    writes: TaskTracker,
    /// Cancelled when the host waits no longer for ends to be stored. It is another signal than that for the end of
    /// admissions: ends are stored while the host drains. What is not written by then is left to the recovery of the next
    /// start.
    give_up: CancellationToken,
}

impl Finalizer {
    pub(crate) fn new(store: Arc<dyn Store>, wake_ups: WakeUps) -> Self {
        Self {
            store,
            wake_ups,
            new_jobs: Arc::default(),
            pending: Arc::default(),
            writes: TaskTracker::new(),
            give_up: CancellationToken::new(),
        }
    }

    /// Waits until every end is stored that is written in the background. Call it when no turn runs any more.
    pub(crate) async fn wait_for_writes(&self) {
        self.writes.close();
        self.writes.wait().await;
    }

    /// Stops to write ends in the background.
    pub(crate) fn give_up(&self) {
        self.give_up.cancel();
    }

    /// Notified when a turn has left background jobs.
    pub(crate) fn new_jobs(&self) -> Arc<Notify> {
        Arc::clone(&self.new_jobs)
    }

    /// Turns that have ended for their readers but not yet in the store.
    pub(crate) fn pending_turns(&self) -> Vec<TurnId> {
        self.pending().iter().copied().collect()
    }

    fn pending(&self) -> MutexGuard<'_, HashSet<TurnId>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a turn in the store. Its readers may be told after that.
    pub(crate) async fn finalize(&self, finished: FinishedTurn<'_>, outcome: TurnOutcome) -> FinalizedTurn {
        match outcome {
            TurnOutcome::Completed => self.commit(finished).await,
            TurnOutcome::Failed(problem) => {
                let status =
                    if finished.draft.text.is_empty() { TurnStatus::Failed } else { TurnStatus::Interrupted };
                self.end_incomplete(finished, problem, status).await
            }
            TurnOutcome::Cancelled(reason) => {
                self.end_incomplete(finished, reason.problem(), TurnStatus::Interrupted).await
            }
            TurnOutcome::NotAdmitted(error) => self.end_not_admitted(finished, error).await,
        }
    }

    /// Ends a turn whose admission the store did not confirm. If the outcome is unknown, the turn is looked up: one
    /// that was stored is ended, since it would keep its conversation busy until its lease expires.
    async fn end_not_admitted(&self, finished: FinishedTurn<'_>, error: StoreError) -> FinalizedTurn {
        let (problem, started) = (store_problem(&error), finished.started);
        let failed = FinalizedTurn::failed(problem.clone(), TurnStatus::Failed);
        if !matches!(error, StoreError::OutcomeUnknown(_)) {
            return failed;
        }
        match self.store.turn(finished.owner, started.turn).await {
            Ok(Some(found)) if found.status == TurnStatus::Running && found.attempt == started.attempt => {
                self.end_incomplete(finished, problem, TurnStatus::Failed).await
            }
            Ok(_) => failed,
            Err(error) => {
                tracing::error!(%error, "an admission with an unknown outcome could not be looked up");
                // Ending a first attempt that was not stored changes nothing. A later attempt that was not stored may
                // be admitted again under the same epoch, so its lease is left to expire.
                if started.attempt == 1 {
                    self.write_later(incomplete_record(&finished, &problem, TurnStatus::Failed));
                }
                failed
            }
        }
    }

    /// Stores a complete exchange.
    async fn commit(&self, finished: FinishedTurn<'_>) -> FinalizedTurn {
        let commit = commit_record(&finished);
        let response = commit.response.clone();
        let has_jobs = !commit.jobs.is_empty();
        let mut written = self.store.commit(commit).await;
        if let Err(StoreError::OutcomeUnknown(cause)) = &written {
            tracing::warn!(cause, "the outcome of a commit is unknown; committing again");
            if let Some(answer) = self.commit_again(&finished).await {
                written = answer;
            }
        }
        let error = match written {
            Ok(Ending::Done { next, .. }) => {
                self.wake(next.as_ref());
                self.notify_of_jobs(has_jobs);
                return completed(response);
            }
            Ok(Ending::LeaseLost) => return self.lease_lost(finished.owner, finished.started).await,
            Err(error) => error,
        };
        tracing::error!(%error, "a reply could not be committed");
        // The commit may have reached the disk although the answer did not reach this host.
        if let Some(response) = self.committed_response(finished.owner, finished.started).await {
            self.notify_of_jobs(has_jobs);
            return completed(response);
        }
        let problem = store_problem(&error);
        self.write_later(incomplete_record(&finished, &problem, TurnStatus::Interrupted));
        FinalizedTurn::failed(problem, TurnStatus::Interrupted)
    }

    /// Repeats a commit until the store says what became of it. The store answers a repetition as it answered the first, and a
    /// turn that lost its lease writes nothing, so this is safe at any time. `None` if the store has not said it in time.
    async fn commit_again(&self, finished: &FinishedTurn<'_>) -> Option<Result<Ending, StoreError>> {
        let again = async {
            loop {
                tokio::time::sleep(UNKNOWN_INTERVAL).await;
                let answer = self.store.commit(commit_record(finished)).await;
                if !matches!(answer, Err(StoreError::OutcomeUnknown(_) | StoreError::Unavailable(_))) {
                    return answer;
                }
            }
        };
        let again = tokio::time::timeout(UNKNOWN_LIMIT, again);
        self.give_up.run_until_cancelled(again).await?.ok()
    }

    /// Tells the two ways apart in which a turn loses its lease: its conversation was deleted, perhaps by another process,
    /// or another turn took it.
    async fn lease_lost(&self, owner: &Owner, started: &Started) -> FinalizedTurn {
        let found = self.store.conversation(owner, started.conversation);
        let reason = match tokio::time::timeout(WRITE_TIMEOUT, found).await {
            Ok(Ok(None)) => CancelReason::ConversationDeleted,
            Ok(Ok(Some(_))) => CancelReason::LeaseLost,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the conversation of a turn that lost its lease could not be looked up");
                CancelReason::LeaseLost
            }
            Err(_elapsed) => CancelReason::LeaseLost,
        };
        FinalizedTurn::failed(reason.problem(), TurnStatus::Failed)
    }

    /// The response of this attempt, if the store has it.
    async fn committed_response(&self, owner: &Owner, started: &Started) -> Option<Value> {
        let record = self.store.turn(owner, started.turn).await.ok()??;
        let TurnRecord { status: TurnStatus::Completed, attempt, response: Some(response), .. } = record
        else {
            return None;
        };
        (attempt == started.attempt).then_some(response)
    }

    /// Stores what there is of the exchange.
    async fn end_incomplete(
        &self,
        finished: FinishedTurn<'_>,
        problem: Problem,
        status: TurnStatus,
    ) -> FinalizedTurn {
        let record = incomplete_record(&finished, &problem, status);
        match tokio::time::timeout(WRITE_TIMEOUT, self.write(&record)).await {
            Ok(Ok(Ending::Done { .. })) => return FinalizedTurn::failed(problem, status),
            Ok(Ok(Ending::LeaseLost)) => return self.lease_lost(finished.owner, finished.started).await,
            Ok(Err(error)) => {
                tracing::error!(%error, "the end of a turn could not be stored; trying again");
            }
            Err(_elapsed) => {
                tracing::error!(
                    "the store takes long to store the end of a turn; its readers are told before"
                );
            }
        }
        // Writing again what was written changes nothing.
        self.write_later(record);
        FinalizedTurn::failed(problem, status)
    }

    /// Tries in the background until the end is on disk. Meanwhile the lease is renewed and the conversation stays
    /// busy.
    fn write_later(&self, record: IncompleteTurn) {
        let finalizer = self.clone();
        finalizer.pending().insert(record.turn());
        self.writes.spawn(async move {
            let work = async {
                while let Err(error) = finalizer.write(&record).await {
                    if !matches!(error, StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) {
                        tracing::error!(%error, "the end of a turn can't be stored");
                        return;
                    }
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            };
            finalizer.give_up.run_until_cancelled(work).await;
            finalizer.pending().remove(&record.turn());
        });
    }

    async fn write(&self, record: &IncompleteTurn) -> Result<Ending, StoreError> {
        let ending = match record {
            IncompleteTurn::Interrupted(interruption) => {
                let ending = self.store.interrupt(interruption.clone()).await?;
                self.notify_of_jobs(!interruption.jobs.is_empty());
                ending
            }
            IncompleteTurn::Failed(failed) => self.store.fail(failed.clone()).await?,
        };
        if let Ending::Done { next, .. } = &ending {
            self.wake(next.as_ref());
        }
        Ok(ending)
    }

    /// Wakes the turn that waits first for the conversation of a turn that has ended.
    fn wake(&self, next: Option<&Waiter>) {
        if let Some(next) = next {
            self.wake_ups.wake(next, &self.writes);
        }
    }

    fn notify_of_jobs(&self, has_jobs: bool) {
        if has_jobs {
            self.new_jobs.notify_one();
        }
    }
}

fn completed(response: Value) -> FinalizedTurn {
    FinalizedTurn { end: TurnEnd::Completed(Arc::new(response)), status: TurnStatus::Completed }
}
