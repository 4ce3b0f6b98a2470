//! Counts the requests that got no turn.

use masque_problem::{Kind, Problem};
use masque_telemetry::metrics::turns::REFUSED;

/// Counts a request that was not admitted. Requests that are wrong, such as one for an unknown companion, are not counted;
/// those without a slot are counted where it is known whose slots are used up.
pub(crate) fn count_refusal(problem: &Problem) {
    if let Some(reason) = reason(problem.kind) {
        REFUSED.increment(&[reason]);
    }
}

fn reason(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::ConversationBusy => Some("conversation-busy"),
        Kind::BudgetSpent => Some("budget"),
        Kind::Draining => Some("draining"),
        // Before a turn runs, only the store can fail.
        Kind::StorageUnavailable | Kind::Internal => Some("store"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_wrong_is_not_counted_as_refused() {
        for kind in [Kind::CompanionNotFound, Kind::IdempotencyMismatch, Kind::ConversationNotFound] {
            assert_eq!(reason(kind), None, "{kind:?}");
        }
        assert_eq!(reason(Kind::ConversationBusy), Some("conversation-busy"));
        assert_eq!(reason(Kind::StorageUnavailable), Some("store"));
        assert_eq!(reason(Kind::Draining), Some("draining"));
    }
}
