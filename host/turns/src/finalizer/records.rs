//! What is written to the store at the end of a turn.

use masque_problem::Problem;
use masque_store::{
    Commit, Failed, Interruption, MessageId, NewJob, NewMessage, Started, TurnId, TurnStatus,
};
use serde_json::{Value, json};

use super::outcome::FinishedTurn;
use crate::draft::ReplyDraft;
use crate::jobs::{EndedExchange, jobs_after};
use crate::reply::CompletedReply;

/// The record of a turn that ends without a complete reply.
pub(super) enum IncompleteTurn {
    /// A part of the reply is kept.
    Interrupted(Interruption),
    /// Nothing of the reply is kept.
    Failed(Failed),
}

impl IncompleteTurn {
    pub(super) fn turn(&self) -> TurnId {
        match self {
            Self::Interrupted(interruption) => interruption.turn,
            Self::Failed(failed) => failed.turn,
        }
    }
}

/// The record of a complete turn. Its `response` is what clients get.
pub(super) fn commit_record(finished: &FinishedTurn<'_>) -> Commit {
    let FinishedTurn { owner, started, draft, timing, .. } = finished;
    let finish = draft.finish.unwrap_or("stop");
    let usage = draft.usage;
    let response = CompletedReply {
        turn: started.turn,
        conversation: started.conversation,
        companion: &started.companion,
        content: &draft.text,
        finish,
        usage,
        timing,
    };
    let response: Value = response.to_value();
    let reply = reply_message(draft, started);
    Commit {
        owner: (*owner).clone(),
        conversation: started.conversation,
        turn: started.turn,
        epoch: started.epoch,
        jobs: new_jobs(finished, &reply, false),
        reply,
        finish: finish.to_owned(),
        usage,
        response,
    }
}

/// The record of a turn that ends as `status` (failed or interrupted) because of `problem`.
pub(super) fn incomplete_record(
    finished: &FinishedTurn<'_>,
    problem: &Problem,
    status: TurnStatus,
) -> IncompleteTurn {
    let FinishedTurn { owner, started, draft, request_id, .. } = finished;
    let (conversation, turn, epoch) = (started.conversation, started.turn, started.epoch);
    if status == TurnStatus::Failed {
        let problem = problem.to_value(Some(request_id));
        return IncompleteTurn::Failed(Failed {
            owner: (*owner).clone(),
            conversation,
            turn,
            epoch,
            problem,
        });
    }
    let reply = reply_message(draft, started);
    let jobs = new_jobs(finished, &reply, true);
    IncompleteTurn::Interrupted(Interruption {
        owner: (*owner).clone(),
        conversation,
        turn,
        epoch,
        reply: Some(reply).filter(|reply| !reply.content.is_empty()),
        usage: draft.usage,
        jobs,
    })
}

fn new_jobs(finished: &FinishedTurn<'_>, reply: &NewMessage, is_interrupted: bool) -> Vec<NewJob> {
    let FinishedTurn { companion, started, profile, draft, accounts, trace, request_id, .. } = *finished;
    let Some(companion) = companion else { return Vec::new() };
    let usage = draft.reported;
    jobs_after(
        companion,
        &EndedExchange { started, profile, reply, usage, is_interrupted, accounts, trace, request_id },
    )
}

/// The reply as a message. If an earlier attempt left a reply, this one replaces it and keeps its id.
fn reply_message(draft: &ReplyDraft, started: &Started) -> NewMessage {
    NewMessage {
        id: started.kept.unwrap_or_else(MessageId::new),
        content: draft.text.clone(),
        metadata: json!({}),
    }
}
