//! The traits that a plugin implements: one for its kind, and one for each optional ability.

use crate::{Exchange, Message, Opening, Prompt, Recollection, Result, Turn};
use crate::{Finish, reply};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// A plugin is its own settings: a type that serde reads from what the operator wrote and whose JSON Schema the host
/// checks before. It is made anew for each call, so it holds nothing that should outlive one; that is what
/// [`state`](crate::state) is for.
///
/// Implemented for every type that derives `serde::Deserialize` and `schemars::JsonSchema`.
pub trait Plugin: DeserializeOwned + JsonSchema + 'static {}
impl<T: DeserializeOwned + JsonSchema + 'static> Plugin for T {}

/// Turns what is known into a prompt.
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
///         Ok(Prompt::new([Message::system("You are a pirate.")]).messages(recalled.messages).message(turn.message))
///     }
/// }
///
/// masque_sdk::export!(Pirate: persona);
/// # fn main() {}
/// ```
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Persona: Plugin {
    /// Called once a turn, before the model. `turn.message` is to be answered and is not among `recalled.messages`.
    async fn compose(&self, turn: Turn, recalled: Recollection) -> Result<Prompt>;
}

/// Optional for a persona: its first words.
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Greeter: Plugin {
    /// Called when a conversation begins; one message for each alternative, the usual one first.
    async fn greet(&self, opening: Opening) -> Result<Vec<Message>>;
}

/// Optional for a persona: background work after a turn.
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Reflector: Plugin {
    /// Called at least once for each exchange, in order for each user. Writes of a failed call leave no trace.
    async fn reflect(&self, exchange: Exchange) -> Result<()>;
}

/// Chooses what of the past the persona sees.
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Memory: Plugin {
    /// Called once a turn, before the persona. `budget` is in the model's tokens, for everything that is returned.
    async fn recall(&self, turn: Turn, budget: u32) -> Result<Recollection>;
}

/// Optional for a memory: background work after a turn.
#[allow(async_fn_in_trait, reason = "a component has one thread, so no future needs to be Send")]
pub trait Observer: Plugin {
    /// Called at least once for each exchange, in order for each user. Writes of a failed call leave no trace.
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
    /// Called once a turn, and goes on while the reply is read. Returning `Err` before anything was sent lets the host
    /// try another model and answer with a real HTTP error; afterwards it ends the reply as failed.
    async fn generate(&self, prompt: Prompt, reply: &mut reply::ReplyWriter) -> Result<Finish>;
}
