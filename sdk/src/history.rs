//! Earlier messages of this conversation, beyond the newest that a [`Turn`](crate::Turn) carries in its `tail`.
//! Needs the grant `history`.

use crate::{Message, Result, host};

/// Messages before the one with the id `before` (or before the turn's own), oldest first; at most `limit`, itself at
/// most 1000. A page may be shorter: it holds 1 MiB of content, or one message that is longer. Only an empty page is the
/// beginning of the conversation.
///
/// # Errors
/// `denied` where the grant is missing.
///
/// ```
/// # masque_sdk::testing::set_history(["One.", "Two."].map(masque_sdk::Message::user));
/// let newest = masque_sdk::history::page(None, 1)?;
/// assert_eq!(newest[0].text(), "Two.");
/// # Ok::<(), masque_sdk::Failure>(())
/// ```
pub fn page(before: Option<&str>, limit: u32) -> Result<Vec<Message>> {
    host::page(before, limit)
}
