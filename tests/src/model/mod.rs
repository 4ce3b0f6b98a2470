//! A model server that speaks the chat-completions protocol for real, over real sockets, and plays what a test tells
//! it to: in which pieces, how far, and how it breaks.

mod answer;
mod gate;
mod server;

pub use answer::{Answer, Step};
pub use gate::Gate;
pub use server::{MockModel, Seen};

#[cfg(test)]
mod tests;
