//! Ends a turn for its readers, whatever becomes of its task.

use std::sync::Arc;

use masque_problem::{Kind, Problem};

use crate::log::TurnEnd;
use crate::registry::{LiveTurn, TurnRegistry};

/// Ends the log and the registry's entry when it is dropped, also if the turn's task panics: a stream never ends without
/// a last event.
pub(crate) struct EndGuard<'a> {
    registry: &'a TurnRegistry,
    live: Arc<LiveTurn>,
}

impl<'a> EndGuard<'a> {
    pub(crate) fn new(registry: &'a TurnRegistry, live: &Arc<LiveTurn>) -> Self {
        Self { registry, live: Arc::clone(live) }
    }
}

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        // Has no effect if the turn has ended normally.
        self.live.log.end(TurnEnd::Failed(Problem::from(Kind::Internal)));
        self.registry.end(&self.live);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use masque_store::{ConversationId, Owner, TurnId};

    use super::*;
    use crate::cancellation::Cancellation;
    use crate::log::{EventKind, EventLog};

    #[tokio::test]
    async fn a_turn_whose_task_panics_ends_its_log_with_a_failure() {
        let registry = Arc::new(TurnRegistry::new(Duration::from_secs(60)));
        let log = EventLog::new(TurnId::new(), ConversationId::new(), "elara".into(), 1024);
        let live = Arc::new(LiveTurn {
            owner: Owner { tenant: "default".into(), issuer: "local".into(), subject: "local".into() },
            log: Arc::clone(&log),
            attempt: 1,
            cancellation: Cancellation::default(),
            key: None,
        });
        registry.begin(&live);
        log.open();
        log.write("Half a ").unwrap();
        let task = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move {
                let _guard = EndGuard::new(&registry, &live);
                panic!("the turn's task fails");
            }
        });
        assert!(task.await.unwrap_err().is_panic());
        assert!(log.has_ended());

        let mut reader = log.reader(None);
        let mut events = Vec::new();
        while let Some(more) = reader.next().await {
            events.extend(more);
        }
        let last = &events.last().unwrap().kind;
        assert!(matches!(last, EventKind::Failed(problem) if problem.kind == Kind::Internal), "{last:?}");
        assert!(registry.running().is_empty());
    }
}
