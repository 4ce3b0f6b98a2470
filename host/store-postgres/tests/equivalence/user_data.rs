//! Exports and erasures of users.

use std::sync::Arc;

use masque_store::conformance::fixtures::entry;
use masque_store::{
    ErasedName, Erasure, ErasureRequest, ExportItem, ExportSection, Owner, Store, StoreError,
};
use uuid::Uuid;

use crate::basics::{error_name, owners, seen};
use crate::normalise::{self, Outcome};

#[derive(Clone, Debug)]
pub(crate) enum UserDataOperation {
    Begin(Owner, Uuid),
    /// Until nothing is left to remove: how much is removed at once is each database's own.
    Erase(Uuid),
    Finish(Uuid),
    Receipt(Uuid),
    Running,
    /// Every section to its end.
    Export(Owner),
    Users(u32),
    /// A section from a cursor that is none.
    WrongCursor(Owner),
}

pub(crate) async fn apply(store: &Arc<dyn Store>, operation: UserDataOperation) -> Outcome {
    use UserDataOperation::*;
    let shown = |erasure: Erasure| (erasure.receipt, erasure.done_at.map(|_| erasure.rows));
    match operation {
        Begin(owner, receipt) => {
            let name = name(store, &owner).await;
            let request = ErasureRequest { receipt, owner, name, entry: entry("user.erase") };
            seen(store.begin_erasure(request).await.map(shown))
        }
        Erase(receipt) => {
            let erased = loop {
                match store.erase_some(receipt).await {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            seen(erased)
        }
        Finish(receipt) => {
            seen(store.finish_erasure(receipt, entry("user.erased")).await.map(|done| done.map(shown)))
        }
        Receipt(receipt) => {
            let found = store.erasure(receipt).await.unwrap();
            let mut users = Vec::new();
            if let Some(found) = &found {
                users.push(store.erasure_of_user(found.user).await.unwrap() == Some(found.clone()));
                users.push(store.user(found.user).await.unwrap().is_none());
                for owner in owners() {
                    users.push(name(store, &owner).await == found.name);
                }
            }
            seen(Ok((found.map(shown), users)))
        }
        Running => {
            let running = store.running_erasures().await;
            seen(running.map(|running| running.into_iter().map(shown).collect::<Vec<_>>()))
        }
        Export(owner) => {
            let mut sections = Vec::new();
            for section in ExportSection::ALL {
                sections.push((section, exported(store, &owner, section).await));
            }
            seen(Ok(sections))
        }
        Users(limit) => seen(users(store, limit).await),
        WrongCursor(owner) => {
            let mut errors = Vec::new();
            for section in ExportSection::ALL {
                errors.push(error_name(store.export(&owner, section, Some("no cursor")).await));
            }
            seen(Ok(errors))
        }
    }
}

/// The name that a tombstone keeps of a user. Each database makes it with its own key.
async fn name(store: &Arc<dyn Store>, owner: &Owner) -> ErasedName {
    store.installation().await.unwrap().erased_name(owner)
}

/// All items of a section. Where the contract names no order, they are compared in any.
async fn exported(store: &Arc<dyn Store>, owner: &Owner, section: ExportSection) -> Vec<String> {
    use ExportSection::{Conversations, Messages, Turns};
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let page = store.export(owner, section, after.as_deref()).await.unwrap();
        items.extend(page.items.into_iter().map(|item| format!("{:?}", normalised(item))));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if !matches!(section, Conversations | Messages | Turns) {
        items.sort_unstable();
    }
    items
}

fn normalised(item: ExportItem) -> ExportItem {
    match item {
        ExportItem::Conversation(record) => ExportItem::Conversation(normalise::conversation(record)),
        ExportItem::Message { conversation, message } => {
            ExportItem::Message { conversation, message: normalise::message(message) }
        }
        ExportItem::Turn(record) => ExportItem::Turn(normalise::turn(record)),
        ExportItem::State(mut state) => {
            state.expires_at = state.expires_at.map(|_| 0);
            ExportItem::State(state)
        }
        ExportItem::Job(mut job) => {
            job.created_at = 0;
            ExportItem::Job(job)
        }
        ExportItem::IdempotencyKey(mut key) => {
            key.expires_at = 0;
            ExportItem::IdempotencyKey(key)
        }
        ExportItem::Audit(record) => ExportItem::Audit(normalise::audit(record)),
        spending @ ExportItem::Spending(_) => spending,
        record @ (ExportItem::TurnRecord(_) | ExportItem::UnreadableTurnRecord(_)) => record,
    }
}

/// The names of all users, and whether each is found by its id, which each database makes for itself.
async fn users(store: &Arc<dyn Store>, limit: u32) -> Result<Vec<String>, StoreError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.users(after, limit).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (id, owner) in page {
            let is_found =
                store.user_id(&owner).await? == Some(id) && store.user(id).await?.as_ref() == Some(&owner);
            found.push(format!("{owner:?} {is_found}"));
        }
    }
    found.sort_unstable();
    Ok(found)
}
