//! The HTTP API: its routes, the shape of requests, and how answers are written. Turns, storage and identity are decided
//! in their own crates; sockets belong to `serve`.

mod access;
mod admin;
mod admission;
pub(crate) mod arrival;
mod auth;
mod author;
mod body;
mod chat;
mod companions;
mod conversations;
mod cors;
mod docs;
mod health;
mod id;
mod idempotency;
mod openapi;
pub(crate) mod phase;
mod query;
mod reply;
mod request;
mod router;
mod schema;
mod sse;
mod state;
#[cfg(test)]
mod tests;
mod trace;
mod turns;
mod view;

pub(crate) use router::{loading, router};
pub(crate) use state::{App, Services};
