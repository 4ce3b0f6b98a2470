//! [`TurnRecords`], and what other operations do to records.

use async_trait::async_trait;
use masque_store::{EncodedTurnRecord, OwnedTurnRecord, RecordBounds, StoreError, TurnId, TurnRecords};
use uuid::Uuid;

use crate::records::{
    compare, find, insert, is_any_of_user, is_anybodys, remove_beyond, remove_of_conversation, remove_of_user,
};
use crate::store::SqliteStore;

#[async_trait]
impl TurnRecords for SqliteStore {
    async fn store_turn_records(&self, records: Vec<EncodedTurnRecord>) -> Result<u64, StoreError> {
        let stored = self.records().write(move |file, database| insert(file, database, &records)).await?;
        stored.ok_or_else(|| StoreError::Unavailable("the file of turn records is gone".into()))
    }

    async fn turn_record(&self, turn: TurnId) -> Result<Option<OwnedTurnRecord>, StoreError> {
        let found = self.records().read(move |file, database| find(file, database, turn)).await?;
        Ok(found.flatten())
    }

    async fn sweep_turn_records(&self, bounds: RecordBounds) -> Result<u64, StoreError> {
        let mut removed = 0;
        for conversation in self.records().deleted() {
            self.remove_records_if_deleted(conversation).await?;
        }
        while let Some(after) = self.records().compared() {
            let compared = self.records().write(move |file, database| compare(file, database, after)).await?;
            self.records().compared_to(compared.as_ref().and_then(|compared| compared.next));
            removed += compared.map_or(0, |compared| compared.removed);
        }
        let beyond = self.records().write(move |file, _database| remove_beyond(file, bounds)).await?;
        Ok(removed + beyond.unwrap_or(0))
    }
}

impl SqliteStore {
    /// Removes the records of a conversation that was deleted.
    pub(crate) async fn remove_records_of(&self, conversation: Uuid) -> Result<(), StoreError> {
        let remove =
            move || self.records().write(move |file, _database| remove_of_conversation(file, conversation));
        while remove().await? == Some(true) {}
        self.records().deletion_ended(conversation);
        Ok(())
    }

    /// The same for one of which it is not known whether it was deleted.
    async fn remove_records_if_deleted(&self, conversation: Uuid) -> Result<(), StoreError> {
        match self.read(move |database| is_anybodys(database, conversation)).await? {
            true => {
                self.records().deletion_ended(conversation);
                Ok(())
            }
            false => self.remove_records_of(conversation).await,
        }
    }

    /// Removes records of a user who is being erased. Returns whether there may be more.
    pub(crate) async fn remove_records_of_user(&self, user: Uuid) -> Result<bool, StoreError> {
        let has_more = self.records().write(move |file, _database| remove_of_user(file, user)).await?;
        Ok(has_more.unwrap_or(false))
    }

    /// Whether a user has any record.
    pub(crate) async fn has_records_of_user(&self, user: Uuid) -> Result<bool, StoreError> {
        let has = self.records().read(move |file, _database| is_any_of_user(file, user)).await?;
        Ok(has.unwrap_or(false))
    }
}
