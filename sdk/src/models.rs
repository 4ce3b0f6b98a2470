//! The companion's own model, asked on the side: for a summary, a label, a second thought. Needs the grant `models`.

use crate::{Prompt, Reply, Result, host};

/// Asks and waits for the whole reply. The inner call shares this call's deadline and cannot ask on.
///
/// # Errors
/// `denied` where the grant is missing, and whatever the model fails with.
///
/// ```
/// use masque_sdk::{Message, Prompt, models};
/// # masque_sdk::testing::reply_with("Sailing.");
/// let reply = models::ask(&Prompt::new([Message::user("In one word, what is this about? …")]))?;
/// assert_eq!(reply.message.text(), "Sailing.");
/// # Ok::<(), masque_sdk::Failure>(())
/// ```
pub fn ask(prompt: &Prompt) -> Result<Reply> {
    host::ask(prompt)
}
