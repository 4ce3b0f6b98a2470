//! The jobs that an exchange leaves behind.

use masque_companions::Companion;
use masque_store::{Ability, BudgetAccount, JobId, NewJob, NewMessage, Started, UsageRecord, UserProfile};

use super::payload::Payload;

/// One job for each plugin of the companion that wants to be told of the exchange.
pub(crate) fn jobs_after(
    companion: &Companion,
    started: &Started,
    profile: &UserProfile,
    reply: &NewMessage,
    usage: UsageRecord,
    is_interrupted: bool,
    accounts: &[BudgetAccount],
) -> Vec<NewJob> {
    let memory = (&companion.memory, Ability::Observe, companion.memory.package().observes());
    let persona = (&companion.persona, Ability::Reflect, companion.persona.package().reflects());
    let wanted = [memory, persona].into_iter().filter(|(_, _, is_wanted)| *is_wanted);
    wanted
        .map(|(plugin, ability, _)| NewJob {
            id: JobId::new(),
            plugin: plugin.name().to_owned(),
            ability,
            payload: Payload::new(started, profile, reply, usage, is_interrupted, accounts).to_text(),
        })
        .collect()
}
