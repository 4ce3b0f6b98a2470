//! Turns, tokens and budgets.

use super::buckets::{OPERATION_SECONDS, REQUEST_SECONDS, SHORT_SECONDS};
use super::declare::families;

families! {
    counter TURNS = "masque_turns_total" ["companion", "outcome"],
        "Turns that ended, by outcome: `completed`, `failed` (also after a part of the reply), `rejected` (the model refused the prompt, which a user's text can cause), `interrupted` (the host stopped or lost the lease), `cancelled` (by the client, or without a reader).";
    gauge RUNNING = "masque_turns_running" [],
        "Turns that run on this host.";
    gauge WAITING = "masque_turns_waiting" ["for"],
        "Requests that wait for a turn's place: for the `conversation`, a `user` slot, or a `host` slot.";
    counter REFUSED = "masque_turns_refused_total" ["reason"]
        of [["conversation-busy", "user-slots", "host-slots", "budget", "draining", "store"]],
        "Requests that got no turn or, for want of tokens, no reply, by reason: `conversation-busy`, `user-slots`, `host-slots`, `budget`, `draining`, `store`.";
    histogram DURATION = "masque_turn_duration_seconds" ["companion", "outcome"] in REQUEST_SECONDS,
        "Time from the arrival of a turn's request to the turn's end.";
    histogram FIRST_CONTENT = "masque_turn_first_content_seconds" ["companion"] in REQUEST_SECONDS,
        "Time from the arrival of a turn's request to the first content of the reply. A turn that ends without any, in whichever way, counts with the time that it took if that is more than 5 s.";
    histogram DELTA_GAP = "masque_turn_delta_gap_seconds" ["companion"] in OPERATION_SECONDS,
        "Time between two pieces of content of one reply.";
    histogram HOST_OVERHEAD = "masque_turn_host_overhead_seconds" ["companion"] in SHORT_SECONDS,
        "Time of a completed turn less the time in which its plugins waited for upstreams.";
    counter MODEL_CALLS = "llm_requests_total" ["companion", "plugin", "model", "outcome"],
        "Calls of a model, those that plugins ask and those before a failover included, by the model's entry in the configuration; plugin is the one that asked, or the model itself for a reply; outcome is `ok`, the code of the failure, or `cancelled`.";
    counter RECALLS = "memory_retrievals_total" ["plugin", "outcome"],
        "Calls of `recall`; outcome is `ok`, the code of the failure, or `cancelled`.";
    counter TOKENS = "masque_tokens_total" ["companion", "model", "direction"],
        "Tokens of model calls, reported or estimated, by direction: `input`, `output`, `cached`.";
    counter BUDGET_REFUSALS = "masque_budget_refusals_total" [],
        "Model calls that were refused since a budget is spent.";
    gauge BUDGET_USED = "masque_budget_used_ratio" ["kind"],
        "The largest share of its budget of the day that an account has used, of the accounts that this host serves now, by their kind: an API `key` or a `user`; read at each heartbeat.";
    counter RECORDS_WRITTEN = "masque_records_written_total" [],
        "Turn records that were stored.";
    counter RECORDS_DROPPED = "masque_records_dropped_total" ["reason"] of [["queue", "size", "store", "share", "age", "total"]],
        "Turn records that were not stored, by reason: `queue`, `size`, `store`, `share` (its turn is not among those that are recorded); or that were removed by a bound: `age`, `total`.";
    counter RECORDS_SHORTENED = "masque_records_shortened_total" [],
        "Turn records that were stored without some of their texts, since they were too large.";
    counter TRACES = "masque_traces_total" ["decision"] of [["kept", "dropped"]],
        "Traces of turns at their end, by decision: `kept` or `dropped`.";
    counter SPANS_DROPPED = "masque_spans_dropped_total" ["reason"] of [["turn", "queue", "export"]],
        "Spans that were not exported, by reason: `turn` (more than a turn may hold), `queue`, `export`.";
}

/// The outcomes of a turn.
pub const TURN_OUTCOMES: [&str; 5] = ["completed", "failed", "interrupted", "cancelled", "rejected"];

/// Makes the series of a companion whose first increase has to be seen.
pub fn begin_companion(companion: &str) {
    for outcome in TURN_OUTCOMES {
        TURNS.begin(&[companion, outcome]);
    }
}
