//! The traits that a plugin implements: one for its kind, and one for each optional interface.

use crate::{Exchange, Message, Opening, Prompt, Recollection, Result, Turn};
use crate::{Finish, reply};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// The settings of a plugin. The host checks what the operator wrote against the type's JSON Schema, and serde reads it
/// into a new value for each call. Values that outlive a call belong into [`state`](crate::state).
///
/// Implemented for every type that derives `serde::Deserialize` and `schemars::JsonSchema`.
pub trait Plugin: DeserializeOwned + JsonSchema + 'static {}
impl<T: DeserializeOwned + JsonSchema + 'static> Plugin for T {}

/// Composes the prompt of a turn.
///
/// ```
/// use masque_sdk::{Message, Persona, Prompt, Recollection, Result, Turn};
///
/// /// Answers as a pirate would.
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Pirate {}
///
/// impl Persona for Pirate {
///     async fn compose(&self, turn: Turn, recalled: Recollection) -> Result<Prompt> {
///         let system = Message::system("You are a pirate.");
///         let memories = recalled.memory_message();
///         Ok(Prompt::new([system]).messages(memories).messages(recalled.messages).message(turn.message))
///     }
/// }
///
/// masque_sdk::export!(Pirate: persona);
/// # fn main() {}
/// ```
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Persona: Plugin {
    /// Called once in a turn, before the model. `turn.message` is the message to answer; `recalled.messages` does not
    /// contain it.
    async fn compose(&self, turn: Turn, recalled: Recollection) -> Result<Prompt>;
}

/// Optional for a persona: the first messages of a conversation.
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Greeter: Plugin {
    /// Called when a conversation begins. Returns one message for each alternative, the default first.
    async fn greet(&self, opening: Opening) -> Result<Vec<Message>>;
}

/// Optional for a persona: background work after a turn.
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Reflector: Plugin {
    /// Called at least once for each exchange, in order for each user. The writes of a failed call are discarded.
    async fn reflect(&self, exchange: Exchange) -> Result<()>;
}

/// Chooses which earlier messages and memories the persona receives.
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Memory: Plugin {
    /// Called once in a turn, before the persona. `budget` limits everything that is returned, in the model's tokens.
    async fn recall(&self, turn: Turn, budget: u32) -> Result<Recollection>;
}

/// Optional for a memory: background work after a turn.
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Observer: Plugin {
    /// Called at least once for each exchange, in order for each user. The writes of a failed call are discarded.
    async fn observe(&self, exchange: Exchange) -> Result<()>;
}

/// Answers a prompt.
///
/// ```
/// use masque_sdk::{Finish, Model, Prompt, ReplyWriter, Result};
///
/// /// Says everything twice.
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Echo {}
///
/// impl Model for Echo {
///     async fn generate(&self, prompt: Prompt, reply: &mut ReplyWriter) -> Result<Finish> {
///         let said = prompt.messages.last().map(|message| message.text()).unwrap_or_default();
///         reply.text(said.clone()).await?;
///         reply.text(said).await?;
///         Ok(Finish::stop())
///     }
/// }
///
/// masque_sdk::export!(Echo: model);
///
/// # fn main() {
/// let prompt = Prompt::new([masque_sdk::Message::user("hey")]);
/// let answer = masque_sdk::testing::answer(&Echo {}, prompt).unwrap();
/// assert_eq!(answer.text(), "heyhey");
/// # }
/// ```
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Model: Plugin {
    /// Called once in a turn; runs on while the reply is read. An `Err` before anything was written lets the host try
    /// another model, or answer with an HTTP error. A later `Err` ends the reply as failed.
    async fn generate(&self, prompt: Prompt, reply: &mut reply::ReplyWriter) -> Result<Finish>;
}
