//! The first words of a companion, before anyone spoke.

use std::sync::Arc;
use std::time::Instant;

use masque_runtime::Kind as Role;
use masque_runtime::contract::Opening;
use masque_store::{ConversationId, MessageId, Owner};

use super::lend::{Lender, Past};
use super::{Host, admit, contract, failure, now_ms};
use crate::problem::{Kind, Problem};

impl Host {
    /// The greeting `index`, or the first; `None` if the companion has none and none was asked for.
    pub(super) async fn greet(
        &self,
        owner: &Owner,
        companion: &str,
        conversation: ConversationId,
        index: Option<usize>,
    ) -> Result<Option<String>, Problem> {
        let set = self.active.current();
        let companion = admit::find(&set, companion)?;
        let persona = &companion.persona;
        let greetings = if persona.package().greets() {
            let opening = Opening {
                conversation: conversation.to_string(),
                companion: companion.name.clone(),
                tenant: owner.tenant.clone(),
                user: contract::user(owner),
                now: now_ms(),
                metadata: Vec::new(),
            };
            let lender = Arc::new(Lender {
                store: Arc::clone(&self.store),
                owner: owner.clone(),
                conversation,
                fence: None,
                past: Arc::new(Past {
                    own: MessageId::new(),
                    own_sequence: 0,
                    stored: false,
                    tail: Vec::new(),
                }),
                model: companion.models.first().cloned(),
            });
            let call = lender.call(persona, Instant::now() + self.config.turn.timeout);
            persona.greet(call, &opening).await.map_err(|error| {
                let cause = set.redactor.clean(&error);
                tracing::warn!(
                    plugin = error.plugin,
                    function = error.function,
                    code = error.code(),
                    cause,
                    "a call failed"
                );
                failure::problem(Role::Persona, &error)
            })?
        } else {
            Vec::new()
        };
        match (greetings.get(index.unwrap_or(0)), index) {
            (Some(greeting), _) => Ok(Some(contract::text(greeting))),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err(Problem::new(Kind::InvalidRequest, offered(greetings.len())).with("field", "greeting"))
            }
        }
    }
}

fn offered(count: usize) -> String {
    match count {
        0 => "The companion has no greetings; leave `greeting` out.".into(),
        1 => "The companion has one greeting: `greeting` is 0.".into(),
        _ => format!("The companion has {count} greetings: `greeting` is 0 to {}.", count - 1),
    }
}
