//! Tests of the router over a real store and an empty active set: everything except the reply of a turn.

mod description;
mod explain;
mod explain_setup;
mod lifecycle;
mod listeners;
mod lists;
mod metrics;
mod probes;
mod published;
mod requests;
mod responses;
mod setup;
mod user_data;
