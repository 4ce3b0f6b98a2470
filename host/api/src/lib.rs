//! The HTTP API: routes, the shape of requests, and how answers are written.
//!
//! [`router`] serves the whole API over [`Services`]; [`loading`] answers while the host loads. Every request passes
//! admission, which alone decides who is asking and whether the route may be used.
//!
//! Left to others: turns, storage and identity to their crates; sockets, TLS and request ids to `masque-http`.
#![deny(missing_docs)]

mod access;
mod admin;
mod admission;
mod auth;
mod author;
mod chat;
mod companions;
mod conversations;
mod docs;
mod explain;
mod health;
mod health_cause;
mod id;
mod idempotency;
mod listeners;
mod metrics;
mod nearest_route;
mod openapi;
mod options;
mod probes;
mod query;
mod reach;
mod reply;
mod request;
mod router;
mod schema;
mod sse;
mod sse_data;
mod state;
mod store_probe;
#[cfg(test)]
mod tests;
mod turns;
mod user;
mod user_data;
mod view;
mod visible_text;

pub use explain::{
    ContentAccess, ExplainedHostCall, ExplainedMemory, ExplainedMessage, ExplainedPart, ExplainedPrompt,
    ExplainedRecollection, ExplainedReply, ExplainedSource, ExplainedStep, ExplainedTiming, ExplainedTool,
    ExplainedUsage, Explanation, explanation,
};
pub use options::Options;
pub use router::{loading, router};
pub use state::{App, SandboxSlots, Services};
