//! The conversation that a call is about.

use std::sync::Arc;

use masque_store::{ConversationId, MessageId, MessageRecord, Owner, StateFence, Store};

use crate::metering::UsageMeter;
use crate::records::CallLog;

/// Where the calls of one turn, or of one background job, read and write.
pub(crate) struct ConversationContext {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) owner: Owner,
    pub(crate) conversation: ConversationId,
    /// The turn or job that writes state, which it may as long as it holds its lease. `None` where there is neither.
    pub(crate) fence: Option<StateFence>,
    pub(crate) history: KnownHistory,
    /// Counts the tokens of the companion's model, if a plugin asks it.
    pub(crate) meter: Arc<UsageMeter>,
    /// Lists the calls, those of plugins that ask the model included.
    pub(crate) calls: Arc<CallLog>,
}

/// The part of the history that the turn knows without asking the store.
pub(crate) struct KnownHistory {
    /// The user's message of this turn. It is not part of the turn's own history.
    pub(crate) own_message: MessageId,
    /// Its place in the conversation.
    pub(crate) own_sequence: i64,
    /// Whether that message is certainly on disk, so that the store can be asked what was before it.
    pub(crate) is_stored: bool,
    /// The newest messages before it, oldest first.
    pub(crate) tail: Vec<MessageRecord>,
}
