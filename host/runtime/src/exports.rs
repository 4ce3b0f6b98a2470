//! What a component exports, whichever version of the contract it was built for.

use crate::contract::{Description, Exchange, Message, Opening, PluginKind, Prompt, Recollection, Turn};
use crate::instance::{LiveInstance, Work};
use crate::reply::ReplySink;

/// A call with its arguments, to be run in an instance.
pub(crate) type BoundCall<R> = Box<dyn FnOnce(LiveInstance) -> Work<R> + Send>;

/// The functions of one component. Each version of the contract implements it once.
///
/// Functions of optional interfaces return `None` where the component does not export the interface. Arguments are
/// translated when the call is bound, so a borrowed argument need not outlive the bound call.
pub(crate) trait PluginExports: Send + Sync {
    /// Which of the three interfaces the component exports.
    fn kind(&self) -> PluginKind;
    /// Whether [`Self::greet`] returns a call.
    fn greets(&self) -> bool;
    /// Whether [`Self::reflect`] returns a call.
    fn reflects(&self) -> bool;
    /// Whether [`Self::observe`] returns a call.
    fn observes(&self) -> bool;
    fn describe(&self) -> BoundCall<Description>;
    fn compose(&self, turn: &Turn, recalled: Recollection) -> Option<BoundCall<Prompt>>;
    fn greet(&self, opening: &Opening) -> Option<BoundCall<Vec<Message>>>;
    fn reflect(&self, exchange: &Exchange) -> Option<BoundCall<()>>;
    fn recall(&self, turn: &Turn, budget: u32) -> Option<BoundCall<Recollection>>;
    fn observe(&self, exchange: &Exchange) -> Option<BoundCall<()>>;
    /// The call writes its items into `sink` until the reply ends or its reader is gone.
    fn generate(&self, prompt: &Prompt, sink: ReplySink) -> Option<BoundCall<()>>;
}
