//! The operations, and how one is applied to a store.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use masque_store::{
    Admission, AuditEntry, Commit, ConversationId, Failed, Interruption, JobCompletion, JobId, JobLimits,
    KeyHash, KeyId, MessageId, NewApiKey, NewConversation, NewRevocation, Owner, Page, Paged, StateFence,
    StateKey, StateSpace, StateWrite, Store, StoreError, TailLimit, TurnId,
};
use uuid::Uuid;

use crate::basics::{error_name, hosts, seen};
use crate::normalise::{self, Outcome};
use crate::spending::{self, Report};
use crate::user_data::{self, UserDataOperation};

/// One call, or a list read to its end in pages of a size.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Create(Owner, NewConversation),
    Conversation(Owner, ConversationId),
    Conversations(Owner, Option<BTreeSet<String>>, u32),
    Rename(Owner, ConversationId, String),
    Delete(Owner, ConversationId),
    /// Until nothing is left to forget.
    ForgetConversations(Duration),
    Messages(Owner, ConversationId, u32),
    MessagesBefore(Owner, ConversationId, Option<MessageId>, TailLimit),
    MessagesById(Owner, Vec<MessageId>),
    Admit(Box<Admission>),
    Commit(Box<Commit>),
    Interrupt(Box<Interruption>),
    Fail(Box<Failed>),
    Turn(Owner, TurnId),
    Keyed(Owner, String),
    StopWaiting(ConversationId, TurnId),
    Heartbeat(Uuid, Vec<TurnId>, Duration),
    RequestCancel(Owner, TurnId),
    /// As the only host that lives, after the others have returned their blocks.
    Recover(Uuid, Vec<Report>),
    /// Until nothing is left to remove.
    Sweep,
    Take(Uuid, Duration, JobLimits, Option<BTreeSet<String>>),
    Complete(JobId, i64, JobCompletion),
    Retry(JobId, i64, Duration),
    Park(JobId, i64),
    Release(JobId, i64),
    RenewJobs(Uuid, Vec<JobId>, Duration),
    JobCounts,
    ParkedJobs,
    RetryParked(JobId),
    ForgetParked(Duration),
    StateGet(StateKey),
    StateWrite(Option<StateFence>, Vec<StateWrite>),
    StateBytes(StateSpace),
    StateList(StateSpace, String, u32),
    CreateKey(Box<NewApiKey>, AuditEntry),
    RotateKey(KeyId, KeyHash, Duration, AuditEntry),
    RevokeKey(KeyId, AuditEntry),
    Key(KeyId),
    Keys(u32),
    Revoke(NewRevocation, AuditEntry),
    Security,
    SecuritySince(i64),
    Audit(u32),
    /// As the only host that lives.
    Report(Report),
    Spent(String),
    UserData(UserDataOperation),
    /// A list from a cursor that is none.
    WrongCursor(Owner, ConversationId),
}

/// Applies an operation, and returns what a caller sees of it apart from times.
pub(crate) async fn apply(store: &Arc<dyn Store>, operation: &Operation) -> Outcome {
    use Operation::*;
    match operation.clone() {
        Create(owner, new) => seen(store.create(&owner, new).await.map(normalise::conversation)),
        Conversation(owner, id) => {
            seen(store.conversation(&owner, id).await.map(|found| found.map(normalise::conversation)))
        }
        Conversations(owner, None, limit) => {
            let pages = all(limit, |page| store.conversations(&owner, page)).await;
            seen(pages.map(|pages| paged(pages, normalise::conversation)))
        }
        Conversations(owner, Some(companions), limit) => {
            let pages = all(limit, |page| store.conversations_with(&owner, &companions, page)).await;
            seen(pages.map(|pages| paged(pages, normalise::conversation)))
        }
        Rename(owner, id, title) => {
            seen(store.rename(&owner, id, title).await.map(|found| found.map(normalise::conversation)))
        }
        Delete(owner, id) => seen(store.delete(&owner, id).await),
        ForgetConversations(idle_for) => {
            let mut forgotten = 0;
            loop {
                match store.forget_conversations(idle_for).await {
                    Ok(0) => break seen(Ok(forgotten)),
                    Ok(conversations) => forgotten += conversations,
                    Err(error) => break seen::<()>(Err(error)),
                }
            }
        }
        Messages(owner, id, limit) => {
            let owner = &owner;
            let pages = all(limit, |page| async move {
                let none = || Paged { items: Vec::new(), next: None };
                Ok(store.messages(owner, id, page).await?.unwrap_or_else(none))
            });
            seen(pages.await.map(|pages| paged(pages, normalise::message)))
        }
        MessagesBefore(owner, id, before, limit) => {
            let found = store.messages_before(&owner, id, before, limit).await;
            seen(found.map(|items| each(items, normalise::message)))
        }
        MessagesById(owner, messages) => {
            let found = store.messages_by_id(&owner, &messages).await;
            seen(found.map(|items| each(items, normalise::message)))
        }
        Admit(admission) => {
            let admitted = async {
                let admitted = store.admit(*admission).await?;
                admitted.durable.wait().await?;
                Ok(admitted.outcome)
            };
            normalise::admission(admitted.await)
        }
        Commit(commit) => seen(store.commit(*commit).await.map(normalise::ending)),
        Interrupt(interruption) => seen(store.interrupt(*interruption).await.map(normalise::ending)),
        Fail(failure) => seen(store.fail(*failure).await.map(normalise::ending)),
        Turn(owner, id) => seen(store.turn(&owner, id).await.map(|found| found.map(normalise::turn))),
        Keyed(owner, key) => seen(store.keyed(&owner, "/chat", &key).await),
        StopWaiting(conversation, turn) => seen(store.stop_waiting(conversation, turn).await),
        Heartbeat(host, turns, lease) => {
            seen(store.heartbeat(host, &turns, lease).await.map(normalise::heartbeat))
        }
        RequestCancel(owner, turn) => seen(store.request_cancel(&owner, turn).await),
        Recover(host, returned) => {
            for report in returned {
                spending::report(store, report).await.unwrap();
            }
            live_alone(store, host).await;
            seen(store.recover(host).await)
        }
        Sweep => {
            while store.sweep().await.unwrap() > 0 {}
            seen(Ok(()))
        }
        Take(host, lease, limits, plugins) => {
            normalise::taken(store.take(host, lease, limits, plugins.as_ref()).await, lease)
        }
        Complete(job, epoch, completion) => seen(store.complete(job, epoch, completion).await),
        Retry(job, epoch, after) => seen(store.retry(job, epoch, after, "it failed").await),
        Park(job, epoch) => seen(store.park(job, epoch, "it failed too often").await),
        Release(job, epoch) => seen(store.release(job, epoch).await),
        RenewJobs(host, jobs, lease) => seen(store.renew_jobs(host, &jobs, lease).await),
        JobCounts => seen(store.counts().await.map(normalise::counts)),
        ParkedJobs => seen(store.parked_jobs().await.map(|jobs| each(jobs, normalise::parked))),
        RetryParked(job) => seen(store.retry_parked(job).await),
        ForgetParked(older_than) => {
            let mut forgotten = 0;
            loop {
                match store.forget_parked(older_than).await {
                    Ok(0) => break seen(Ok(forgotten)),
                    Ok(jobs) => forgotten += jobs,
                    Err(error) => break seen::<()>(Err(error)),
                }
            }
        }
        StateGet(key) => seen(store.state_get(&key).await),
        StateWrite(fence, writes) => seen(store.state_write(fence, writes).await),
        StateBytes(space) => seen(store.state_bytes(&space).await),
        StateList(space, prefix, limit) => {
            let mut keys: Vec<String> = Vec::new();
            loop {
                let after = keys.last().cloned();
                match store.state_list(&space, &prefix, after.as_deref(), limit).await {
                    Ok(more) if more.is_empty() => break seen(Ok(keys)),
                    Ok(more) => keys.extend(more),
                    Err(error) => break seen::<()>(Err(error)),
                }
            }
        }
        CreateKey(key, entry) => seen(store.create_key(*key, entry).await.map(normalise::key)),
        RotateKey(id, hash, overlap, entry) => {
            let rotated = store.rotate_key(&id, hash, overlap, entry).await;
            seen(rotated.map(|found| found.map(normalise::key)))
        }
        RevokeKey(id, entry) => {
            seen(store.revoke_key(&id, entry).await.map(|found| found.map(normalise::key)))
        }
        Key(id) => seen(store.key(&id).await.map(|found| found.map(normalise::key))),
        Keys(limit) => {
            let pages = all(limit, |page| store.keys(page)).await;
            seen(pages.map(|pages| paged(pages, normalise::key)))
        }
        Revoke(revocation, entry) => seen(store.revoke(revocation, entry).await.map(normalise::revocation)),
        Security => seen(store.security().await.map(normalise::security)),
        SecuritySince(version) => seen(store.security_since(version).await.map(normalise::security)),
        Audit(limit) => {
            let pages = all(limit, |page| store.audit(page)).await;
            seen(pages.map(|pages| paged(pages, normalise::audit)))
        }
        Report(report) => {
            live_alone(store, report.host).await;
            seen(spending::report(store, report).await.map(normalise::report))
        }
        Spent(account) => seen(store.spent(&account).await.map(normalise::spent)),
        UserData(operation) => user_data::apply(store, operation).await,
        WrongCursor(owner, id) => {
            let page = || Page { limit: 3, after: Some("no cursor".into()) };
            let lists = (
                error_name(store.conversations(&owner, page()).await),
                error_name(store.messages(&owner, id, page()).await),
                error_name(store.keys(page()).await),
                error_name(store.audit(page()).await),
            );
            seen(Ok(lists))
        }
    }
}

/// Makes a host the only one that lives: on SQLite it always is.
async fn live_alone(store: &Arc<dyn Store>, host: Uuid) {
    for gone in hosts().into_iter().filter(|other| *other != host) {
        store.heartbeat(gone, &[], Duration::ZERO).await.unwrap();
    }
    store.heartbeat(host, &[], Duration::from_secs(3600)).await.unwrap();
}

/// Reads a list to its end: its pages. Cursors are the database's own and are not compared.
async fn all<T, F>(limit: u32, read: impl Fn(Page) -> F) -> Result<Vec<Vec<T>>, StoreError>
where
    F: Future<Output = Result<Paged<T>, StoreError>>,
{
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = read(Page { limit, after }).await?;
        pages.push(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(pages);
        }
    }
}

fn each<T>(items: Vec<T>, convert: impl Fn(T) -> T) -> Vec<T> {
    items.into_iter().map(convert).collect()
}

fn paged<T>(pages: Vec<Vec<T>>, convert: impl Fn(T) -> T) -> Vec<Vec<T>> {
    pages.into_iter().map(|items| each(items, &convert)).collect()
}
