//! A model server with the chat-completions protocol over real sockets. The test scripts its answers: in which pieces they
//! are sent, how they end, and how they fail.

mod answer;
mod gate;
mod server;

pub use answer::{Answer, Step};
pub use gate::Gate;
pub use server::{MockModel, RecordedRequest};

#[cfg(test)]
mod tests;
