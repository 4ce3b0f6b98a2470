//! What the host offers to one plugin call: the plugin's own state, the history of the conversation, the companion's
//! model. Each is bound to an owner, a conversation and a plugin's name, so a plugin can't name another. Whether the
//! plugin was granted it is decided before, in the sandbox.

mod call;
mod collected_reply;
mod context;
mod history;
mod state;

pub(crate) use call::Capabilities;
pub(crate) use context::{ConversationContext, KnownHistory};
pub(crate) use state::{MAX_PAGE_KEYS, StoredState, quota_failure};
