//! The operations that are measured: those of every trait of the store.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    ActiveSets, Admission, Admitted, ApiKeyRecord, ApiKeys, AuditEntry, AuditLog, AuditRecord, Commit,
    ComponentChunk, ConversationId, ConversationRecord, Conversations, Decision, EncodedTurnRecord, Ending,
    Erasure, ErasureRequest, ExportItem, ExportSection, Failed, Generation, Heartbeat, Installation,
    Interruption, JobCompletion, JobCounts, JobId, JobLimits, Jobs, KeyHash, KeyId, KeyedTurn, MessageId,
    MessageRecord, NewApiKey, NewConversation, NewGeneration, NewRevocation, OwnedTurnRecord, Owner, Page,
    Paged, ParkedJob, ParkedJobs, PluginState, Preparation, PublishOutcome, RecordBounds, ReportAnswer,
    Revocation, Revocations, Security, SetHost, SetState, Spending, SpendingReport, Spent, StateConflict,
    StateFence, StateKey, StateSpace, StateValue, StateWrite, StateWritten, StoreConnection, StoreError,
    StoreSize, TailLimit, TakenJobs, TurnId, TurnRecord, TurnRecords, Turns, UserData,
};
use uuid::Uuid;

use super::{ObservedSets, ObservedStore, observe};

/// Implements traits by measuring the method of the same name.
macro_rules! observed {
    ($observed:ident: $($operations:ident { $(async fn $name:ident(&self $(, $argument:ident: $type:ty)*) -> $answer:ty;)* })*) => {$(
        #[async_trait]
        impl $operations for $observed {
            $(async fn $name(&self $(, $argument: $type)*) -> $answer {
                observe(self.database, stringify!($name), self.store.$name($($argument),*)).await
            })*
        }
    )*
        impl $observed {
            /// The names of the operations, as the label `operation` has them.
            pub(super) const OPERATIONS: &[&str] = &[$($(stringify!($name)),*),*];
        }
    };
}

observed! { ObservedStore:
    Turns {
        async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError>;
        async fn stop_waiting(&self, conversation: ConversationId, turn: TurnId) -> Result<(), StoreError>;
        async fn commit(&self, commit: Commit) -> Result<Ending, StoreError>;
        async fn interrupt(&self, interruption: Interruption) -> Result<Ending, StoreError>;
        async fn fail(&self, failure: Failed) -> Result<Ending, StoreError>;
        async fn turn(&self, owner: &Owner, id: TurnId) -> Result<Option<TurnRecord>, StoreError>;
        async fn keyed(&self, owner: &Owner, route: &str, key: &str) -> Result<Option<KeyedTurn>, StoreError>;
        async fn heartbeat(&self, host: Uuid, turns: &[TurnId], lease: Duration) -> Result<Heartbeat, StoreError>;
        async fn request_cancel(&self, owner: &Owner, turn: TurnId) -> Result<Option<Uuid>, StoreError>;
        async fn recover(&self, host: Uuid) -> Result<u64, StoreError>;
        async fn sweep(&self) -> Result<u64, StoreError>;
    }
    Conversations {
        async fn create(&self, owner: &Owner, new: NewConversation) -> Result<ConversationRecord, StoreError>;
        async fn conversation(&self, owner: &Owner, id: ConversationId) -> Result<Option<ConversationRecord>, StoreError>;
        async fn conversations(&self, owner: &Owner, page: Page) -> Result<Paged<ConversationRecord>, StoreError>;
        async fn conversations_with(&self, owner: &Owner, companions: &BTreeSet<String>, page: Page) -> Result<Paged<ConversationRecord>, StoreError>;
        async fn forget_conversations(&self, idle_for: Duration) -> Result<u64, StoreError>;
        async fn messages_by_id(&self, owner: &Owner, messages: &[MessageId]) -> Result<Vec<MessageRecord>, StoreError>;
        async fn rename(&self, owner: &Owner, id: ConversationId, title: String) -> Result<Option<ConversationRecord>, StoreError>;
        async fn delete(&self, owner: &Owner, id: ConversationId) -> Result<bool, StoreError>;
        async fn messages(&self, owner: &Owner, id: ConversationId, page: Page) -> Result<Option<Paged<MessageRecord>>, StoreError>;
        async fn messages_before(&self, owner: &Owner, id: ConversationId, before: Option<MessageId>, limit: TailLimit) -> Result<Vec<MessageRecord>, StoreError>;
    }
    TurnRecords {
        async fn store_turn_records(&self, records: Vec<EncodedTurnRecord>) -> Result<u64, StoreError>;
        async fn turn_record(&self, turn: TurnId) -> Result<Option<OwnedTurnRecord>, StoreError>;
        async fn sweep_turn_records(&self, bounds: RecordBounds) -> Result<u64, StoreError>;
    }
    Jobs {
        async fn take(&self, host: Uuid, lease: Duration, limits: JobLimits, plugins: Option<&BTreeSet<String>>) -> Result<TakenJobs, StoreError>;
        async fn complete(&self, job: JobId, epoch: i64, completion: JobCompletion) -> Result<bool, StoreError>;
        async fn retry(&self, job: JobId, epoch: i64, after: Duration, error: &str) -> Result<(), StoreError>;
        async fn park(&self, job: JobId, epoch: i64, error: &str) -> Result<(), StoreError>;
        async fn release(&self, job: JobId, epoch: i64) -> Result<(), StoreError>;
        async fn forget_parked(&self, older_than: Duration) -> Result<u64, StoreError>;
        async fn counts(&self) -> Result<JobCounts, StoreError>;
        async fn renew_jobs(&self, host: Uuid, jobs: &[JobId], lease: Duration) -> Result<(), StoreError>;
    }
    ParkedJobs {
        async fn parked_jobs(&self) -> Result<Vec<ParkedJob>, StoreError>;
        async fn retry_parked(&self, job: JobId) -> Result<bool, StoreError>;
    }
    PluginState {
        async fn state_get(&self, key: &StateKey) -> Result<Option<StateValue>, StoreError>;
        async fn state_write(&self, fence: Option<StateFence>, writes: Vec<StateWrite>) -> Result<Result<Vec<StateWritten>, StateConflict>, StoreError>;
        async fn state_bytes(&self, space: &StateSpace) -> Result<u64, StoreError>;
        async fn state_list(&self, space: &StateSpace, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StoreError>;
    }
    ApiKeys {
        async fn create_key(&self, key: NewApiKey, entry: AuditEntry) -> Result<ApiKeyRecord, StoreError>;
        async fn rotate_key(&self, id: &KeyId, hash: KeyHash, overlap: Duration, entry: AuditEntry) -> Result<Option<ApiKeyRecord>, StoreError>;
        async fn revoke_key(&self, id: &KeyId, entry: AuditEntry) -> Result<Option<ApiKeyRecord>, StoreError>;
        async fn key(&self, id: &KeyId) -> Result<Option<ApiKeyRecord>, StoreError>;
        async fn keys(&self, page: Page) -> Result<Paged<ApiKeyRecord>, StoreError>;
    }
    Revocations {
        async fn revoke(&self, revocation: NewRevocation, entry: AuditEntry) -> Result<Revocation, StoreError>;
        async fn security_version(&self) -> Result<i64, StoreError>;
        async fn security(&self) -> Result<Security, StoreError>;
        async fn security_since(&self, since: i64) -> Result<Security, StoreError>;
    }
    AuditLog {
        async fn record(&self, entry: AuditEntry) -> Result<(), StoreError>;
        async fn audit(&self, page: Page) -> Result<Paged<AuditRecord>, StoreError>;
        async fn forget_audit(&self, older_than: Duration) -> Result<u64, StoreError>;
    }
    Spending {
        async fn spent(&self, account: &str) -> Result<Spent, StoreError>;
        async fn forget_spending(&self, older_than: Duration) -> Result<u64, StoreError>;
        async fn report_spending(&self, report: SpendingReport) -> Result<ReportAnswer, StoreError>;
    }
    UserData {
        async fn installation(&self) -> Result<Installation, StoreError>;
        async fn user_id(&self, owner: &Owner) -> Result<Option<Uuid>, StoreError>;
        async fn user(&self, id: Uuid) -> Result<Option<Owner>, StoreError>;
        async fn users(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<(Uuid, Owner)>, StoreError>;
        async fn export(&self, owner: &Owner, section: ExportSection, after: Option<&str>) -> Result<Paged<ExportItem>, StoreError>;
        async fn begin_erasure(&self, request: ErasureRequest) -> Result<Erasure, StoreError>;
        async fn erase_some(&self, receipt: Uuid) -> Result<bool, StoreError>;
        async fn clear_traces(&self) -> Result<bool, StoreError>;
        async fn finish_erasure(&self, receipt: Uuid, entry: AuditEntry) -> Result<Option<Erasure>, StoreError>;
        async fn erasure(&self, receipt: Uuid) -> Result<Option<Erasure>, StoreError>;
        async fn erasure_of_user(&self, user: Uuid) -> Result<Option<Erasure>, StoreError>;
        async fn running_erasures(&self) -> Result<Vec<Erasure>, StoreError>;
    }
}

observed! { ObservedSets:
    ActiveSets {
        async fn join_sets(&self, host: SetHost) -> Result<(), StoreError>;
        async fn leave_sets(&self, host: Uuid) -> Result<(), StoreError>;
        async fn set_state(&self, host: Uuid) -> Result<SetState, StoreError>;
        async fn generation(&self, number: u64) -> Result<Option<Generation>, StoreError>;
        async fn publish_generation(&self, generation: NewGeneration) -> Result<PublishOutcome, StoreError>;
        async fn report_preparation(&self, report: Preparation) -> Result<(), StoreError>;
        async fn decide_generation(&self, number: u64, by: &SetHost) -> Result<Decision, StoreError>;
        async fn missing_components(&self, digests: &[String]) -> Result<Vec<String>, StoreError>;
        async fn add_component_chunk(&self, chunk: ComponentChunk) -> Result<(), StoreError>;
        async fn component_chunk(&self, digest: &str, index: u32) -> Result<Option<Vec<u8>>, StoreError>;
    }
}

#[async_trait]
impl StoreConnection for ObservedStore {
    async fn check(&self) -> Result<(), StoreError> {
        observe(self.database, "check", self.store.check()).await
    }

    async fn failed(&self) -> StoreError {
        self.store.failed().await
    }

    async fn size(&self) -> Result<StoreSize, StoreError> {
        observe(self.database, "size", self.store.size()).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
