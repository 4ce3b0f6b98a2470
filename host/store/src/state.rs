//! Values that plugins store between calls: bytes under a key, in a space that belongs to one plugin's name and one
//! scope. The caller decides which plugin may use which scope.

use async_trait::async_trait;

use crate::error::StoreError;
use crate::state_values::{
    StateConflict, StateFence, StateKey, StateSpace, StateValue, StateWrite, StateWritten,
};

/// Values of plugins. An expired value is absent at once; its row may be removed later.
#[async_trait]
pub trait PluginState: Send + Sync {
    /// The value of a key.
    async fn state_get(&self, key: &StateKey) -> Result<Option<StateValue>, StoreError>;

    /// Applies all writes in their order, or none: a later one sees what an earlier one did. The results come in the
    /// order of the writes. Each says how much of its quota is used then.
    ///
    /// `fence` names the turn or job that writes; `None` is for writes that belong to neither. In the transaction of
    /// the writes the store checks that the fence still holds, so that nothing is written on behalf of a turn or job
    /// that has ended, was taken over, or whose lease has expired.
    ///
    /// # Errors
    /// The inner [`StateConflict`] names the first write whose condition was not met. [`StoreError::FenceEnded`] if the
    /// fence does not hold. [`StoreError::Refused`] if a key is longer than 512 bytes or a value than 1 MiB.
    async fn state_write(
        &self,
        fence: Option<StateFence>,
        writes: Vec<StateWrite>,
    ) -> Result<Result<Vec<StateWritten>, StateConflict>, StoreError>;

    /// The bytes that a plugin holds for one user in the space's tenant: the keys and values of the user and of all the
    /// user's conversations, with [`STATE_ROW_BYTES`](crate::STATE_ROW_BYTES) for each key. In the scope `Shared`, those of
    /// all users together. It is a running total, changed in the transaction of each write. A key that was deleted counts
    /// without its value until its row is removed, and so does the value of one that has expired.
    async fn state_bytes(&self, space: &StateSpace) -> Result<u64, StoreError>;

    /// Keys of a space that start with `prefix`, in byte order, after `after`; at most `limit`.
    async fn state_list(
        &self,
        space: &StateSpace,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError>;
}
