//! Which span of a turn is dropped where a turn has more of them than are held.
//!
//! Spans end from the leaves to the root: a plugin that asks for hundreds of values of its state would fill all places before
//! the steps that a reader looks for have ended. The policy, in this order:
//!
//! - A span with held children is never dropped, so that each held span leads to the turn's own.
//! - The first [`KEPT_CHILDREN`] childless spans of each step are dropped last.
//! - One that succeeded is dropped before one that failed.
//! - The step with the most childless spans loses its latest.

use std::collections::{HashMap, HashSet};

use opentelemetry::SpanId;
use opentelemetry::trace::Status;
use opentelemetry_sdk::trace::SpanData;

/// Childless spans of one step that are dropped only where no step has more.
const KEPT_CHILDREN: usize = 8;

/// What is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    /// The span that has just ended.
    New,
    /// The held span at this index.
    Held(usize),
}

/// Chooses spans to drop from those of one turn.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    /// The step that the last span was dropped from, where it was one too many that succeeded.
    crowded: Option<SpanId>,
}

impl Eviction {
    /// What is dropped of `held` and the span `new`, which ended last.
    pub(super) fn choose(&mut self, held: &[SpanData], new: &SpanData) -> Victim {
        // A loop of requests to the host ends here, so that the whole policy is not applied to each of them.
        let is_next = self.crowded == Some(new.parent_span_id) && !has_failed(new);
        if is_next && held.iter().all(|span| span.parent_span_id != id(new)) {
            return Victim::New;
        }
        let parents: HashSet<SpanId> = held.iter().map(|span| span.parent_span_id).collect();
        let childless: Vec<(usize, &SpanData)> =
            held.iter().chain([new]).enumerate().filter(|(_, span)| !parents.contains(&id(span))).collect();
        let mut children = HashMap::<SpanId, usize>::new();
        childless.iter().for_each(|(_, span)| *children.entry(span.parent_span_id).or_default() += 1);
        let victim = childless
            .into_iter()
            .map(|(index, span)| {
                let siblings = children.get(&span.parent_span_id).copied().unwrap_or_default();
                ((siblings > KEPT_CHILDREN, !has_failed(span), siblings, index), span.parent_span_id)
            })
            .max_by_key(|(preference, _)| *preference);
        let Some(((is_crowded, has_succeeded, _, index), parent)) = victim else { return Victim::New };
        self.crowded = (is_crowded && has_succeeded).then_some(parent);
        if index < held.len() { Victim::Held(index) } else { Victim::New }
    }
}

fn id(span: &SpanData) -> SpanId {
    span.span_context.span_id()
}

fn has_failed(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
}
