//! Calls the companion's own model, for example for a summary or a label. Needs the grant `models`.

use crate::{Prompt, Reply, Result, host};

/// Calls the model and waits for the whole reply. The nested call shares the deadline of this call and can't call models
/// itself.
///
/// # Errors
/// `denied` if the grant is missing, or the model's failure.
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
