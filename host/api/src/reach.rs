//! Which conversations and turns a caller can reach: their own, and of these only the ones with companions that their API
//! key is for. Every route that takes the id of a conversation or a turn asks here first.
//!
//! Threat: a key that is limited to some companions is given to a program that is trusted with these alone, and its user has
//! conversations with others. Policy: what is beyond the key is answered like what does not exist, so that the key can't
//! even find out. The companion of a conversation never changes, so nothing changes between the question and the answer.

use masque_auth::{Principal, store_problem};
use masque_problem::{Kind, Problem};
use masque_store::{ConversationId, ConversationRecord, Page, Paged, StoreError, TurnId, TurnRecord};

use super::state::App;

/// A conversation that the caller can reach.
pub(crate) async fn conversation(
    app: &App,
    caller: &Principal,
    id: ConversationId,
) -> Result<ConversationRecord, Problem> {
    let record = app.store.conversation(&caller.owner, id).await.map_err(store_problem)?;
    let reached = record.filter(|record| caller.may_talk_to(&record.companion));
    reached.ok_or_else(|| Kind::ConversationNotFound.into())
}

/// Refuses a conversation that is beyond the caller's API key. The operation that follows finds out whether the conversation
/// exists, so nothing is read for a caller without such a key.
pub(crate) async fn check_conversation(
    app: &App,
    caller: &Principal,
    id: ConversationId,
) -> Result<(), Problem> {
    match caller.allowed_companions() {
        None => Ok(()),
        Some(_) => conversation(app, caller, id).await.map(drop),
    }
}

/// The caller's conversations, newest first, without those beyond the API key. Pages stay full.
pub(crate) async fn conversations(
    app: &App,
    caller: &Principal,
    page: Page,
) -> Result<Paged<ConversationRecord>, StoreError> {
    match caller.allowed_companions() {
        None => app.store.conversations(&caller.owner, page).await,
        Some(companions) => app.store.conversations_with(&caller.owner, companions, page).await,
    }
}

/// A turn that the caller can reach.
pub(crate) async fn turn(app: &App, caller: &Principal, id: TurnId) -> Result<TurnRecord, Problem> {
    let record = app.store.turn(&caller.owner, id).await.map_err(store_problem)?;
    let reached = record.filter(|record| caller.may_talk_to(&record.companion));
    reached.ok_or_else(|| Kind::TurnNotFound.into())
}

/// Refuses a turn that is beyond the caller's API key, as [`check_conversation`] does.
pub(crate) async fn check_turn(app: &App, caller: &Principal, id: TurnId) -> Result<(), Problem> {
    match caller.allowed_companions() {
        None => Ok(()),
        Some(_) => turn(app, caller, id).await.map(drop),
    }
}
