//! The jobs that an exchange leaves behind.

use masque_companions::Companion;
use masque_store::{Ability, JobId, NewJob};

use super::payload::{EndedExchange, Payload};

/// One job for each plugin of the companion that wants to be told of the exchange.
pub(crate) fn jobs_after(companion: &Companion, exchange: &EndedExchange<'_>) -> Vec<NewJob> {
    let memory = (&companion.memory, Ability::Observe, companion.memory.package().observes());
    let persona = (&companion.persona, Ability::Reflect, companion.persona.package().reflects());
    let wanted = [memory, persona].into_iter().filter(|(_, _, is_wanted)| *is_wanted);
    wanted
        .map(|(plugin, ability, _)| NewJob {
            id: JobId::new(),
            plugin: plugin.name().to_owned(),
            ability,
            payload: Payload::new(exchange).to_text(),
        })
        .collect()
}
