//! What an operator sees of a turn from outside: its trace, and the metrics of turns.
//!
//! The span of a turn begins when the request arrives, with [`RequestTrace`]. Once the store has started the turn,
//! [`ObservedTurn`] takes it over, and counts the turn exactly once at its end, also if its task panics. Spans and attributes
//! follow the GenAI conventions of OpenTelemetry's `semantic-conventions` v1.41.0: `invoke_agent {companion}` for the turn and
//! `chat {model}` for each call of a model. Texts of users and plugins are in none of them.
//!
//! [`log_span`] is what the lines of the log say of the turn that they are about.
//!
//! Left to others: the spans of plugin calls and of what they ask for (the runtime), which traces are exported (telemetry).

mod chat_span;
mod log_span;
mod message_content;
mod observed_turn;
mod outcome;
mod refusal;
mod request_trace;

pub(crate) use chat_span::ChatSpan;
pub(crate) use log_span::log_span;
pub(crate) use observed_turn::ObservedTurn;
pub(crate) use refusal::count_refusal;
pub(crate) use request_trace::RequestTrace;
