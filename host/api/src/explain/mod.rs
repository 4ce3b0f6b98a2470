//! What made a turn: what was recalled and why, the parts of the prompt by source, and the cost of each step.
//!
//! The threat: an explanation shows one user's texts to another, the words of a persona to a user, or a text that was deleted.
//! The policy: the record says what happened, and the store says what may still be read. A message is shown with the text
//! that the store has under its id, and as deleted if it has none. Texts of others (prompts, values that plugins exchanged
//! with the host, digests that allow a guess at them) need the scope `content:read`, and an audit entry before they are
//! shown. The accepted consequence: the text of a memory is shown from the record, since the host keeps no memories itself;
//! it goes with the record, as that goes with its conversation and its user. `docs/explain.md` lists who sees what.
//!
//! Left to others: what is in a record (`masque-turns`), where it is kept and for how long (the store).

mod access;
mod build;
mod content_access;
mod prompt;
mod recorded;
pub(crate) mod route;
mod stored;
mod view;

pub use build::explanation;
pub use content_access::ContentAccess;
pub use view::{
    ExplainedHostCall, ExplainedMemory, ExplainedMessage, ExplainedPart, ExplainedPrompt,
    ExplainedRecollection, ExplainedReply, ExplainedSource, ExplainedStep, ExplainedTiming, ExplainedTool,
    ExplainedUsage, Explanation,
};
