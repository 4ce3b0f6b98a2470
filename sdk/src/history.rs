//! Reads earlier messages of this conversation. The newest ones are in the `tail` of the [`Turn`](crate::Turn) already.
//! Needs the grant `history`.

use crate::{Message, Result, host};

/// Returns messages before the one with the id `before` (before the turn's own message if it is `None`), oldest first: at
/// most `limit`, and at most 1000. A page may hold fewer messages: it ends at 1 MiB of content, but a single message may
/// be larger. An empty page means that the conversation begins there.
///
/// # Errors
/// `denied` if the grant is missing.
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
