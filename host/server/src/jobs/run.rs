//! One job's call: with the plugin that has the job's name in an active set, and with its state writes
//! held back.

use std::sync::Arc;
use std::time::Instant;

use masque_runtime::CallError;
use masque_store::{Ability, JobRecord, StateFence, StateWrite};

use super::Worker;
use super::buffer::Buffer;
use super::payload::Payload;
use crate::active::ActiveSet;
use crate::turn::lend::{Lender, Past};
use crate::turn::{contract, whole_ms};

/// How a job's call went.
pub(super) enum Ended {
    /// What is to be written with its completion.
    Done(Vec<StateWrite>),
    /// Another try may help.
    Failed(String),
    /// No number of tries helps: an operator has to look.
    Hopeless(String),
}

impl Worker {
    pub(super) async fn call(&self, job: &JobRecord, set: &ActiveSet) -> Ended {
        let Some(plugin) = set.plugins.get(&job.plugin) else {
            return Ended::Hopeless(format!("no plugin is named `{}` any more", job.plugin));
        };
        let wanted = match job.ability {
            Ability::Observe => plugin.package().observes(),
            Ability::Reflect => plugin.package().reflects(),
        };
        if !wanted {
            // A version that came later has no use for it.
            return Ended::Done(Vec::new());
        }
        let payload = match Payload::from_text(&job.payload) {
            Ok(payload) => payload,
            Err(error) => return Ended::Hopeless(format!("the job's payload can't be read: {error}")),
        };
        let (asked, limit) = (Some(payload.asked()), contract::TAIL);
        let tail = match self.store.messages_before(&job.owner, job.conversation, asked, limit).await {
            Ok(tail) => contract::newest(tail, contract::TAIL),
            Err(error) => return Ended::Failed(error.to_string()),
        };
        let deadline = Instant::now() + self.config.turn.timeout;
        let exchange = payload.exchange(job, &tail, whole_ms(self.config.turn.timeout));
        let lender = Arc::new(Lender {
            store: Arc::clone(&self.store),
            owner: job.owner.clone(),
            conversation: job.conversation,
            fence: Some(StateFence::Job { job: job.id, epoch: job.epoch }),
            past: Arc::new(Past { own: payload.asked(), own_sequence: payload.sequence, stored: true, tail }),
            model: set
                .companions
                .get(&payload.companion)
                .and_then(|companion| companion.models.first().cloned()),
        });
        let buffer = Arc::new(Buffer::new(lender.state(plugin.name()), Arc::clone(&self.store)));
        let mut call = lender.call(plugin, deadline);
        call.state = Some(Arc::clone(&buffer) as _);
        let called: Result<(), CallError> = match job.ability {
            Ability::Observe => plugin.observe(call, &exchange).await,
            Ability::Reflect => plugin.reflect(call, &exchange).await,
        };
        match called {
            Ok(()) => Ended::Done(buffer.take_writes().await),
            Err(error) => Ended::Failed(error.to_string()),
        }
    }
}
