//! The HTTP API: its routes, the shape of requests, and how answers are written. Turns, storage and identity are decided
//! in their own crates; sockets belong to `serve`.

mod access;
mod admin;
mod admission;
mod auth;
mod author;
mod chat;
mod companions;
mod conversations;
mod docs;
mod health;
mod id;
mod idempotency;
mod listeners;
mod openapi;
mod query;
mod reply;
mod request;
mod router;
mod schema;
mod sse;
mod state;
#[cfg(test)]
mod tests;
mod turns;
mod view;

/// The names by which authentication still knows listeners.
pub(crate) mod arrival {
    pub(crate) use masque_http::ListenerKind as Via;
}

pub(crate) use router::{loading, router};
pub(crate) use state::{App, Services};
