//! HTTP for Masque, from a listening socket to a request: connection limits, TLS, HTTP/1.1 and HTTP/2, the client's
//! address behind proxies, request ids and trace context, CORS, and strict JSON bodies.
//!
//! The crate serves any `tower::Service` and knows no route. Who a client is and what it may do is decided elsewhere.
//!
//! A [`Server`] accepts connections from [`Listener`]s and hands each to a [`ConnectionHandler`], which speaks TLS and
//! HTTP and calls the service. [`track_request`] is the outermost layer of a router.

#![deny(missing_docs)]

mod access_log;
mod body_text;
mod certificate_expiry;
mod client_address;
mod connection;
mod connection_info;
mod connection_limiter;
mod connection_metrics;
pub mod cors;
mod delivered_body;
pub mod descriptors;
mod first_request;
mod json_body;
mod lifecycle;
mod listener;
mod media_type;
mod nearest_name;
mod plain_http;
mod request_id;
mod request_layer;
mod request_metrics;
mod server;
mod shutdown;
mod startup_switch;
mod streams;
mod strict_json;
pub mod tls;
pub mod unix_socket;
mod unread_body;
mod watched_body;

pub use client_address::{ClientAddress, client_address};
pub use connection::{ConnectionHandler, ConnectionOptions};
pub use connection_info::{ConnectionInfo, ListenerKind};
pub use json_body::{BodyLimits, JsonBody};
pub use lifecycle::{Lifecycle, Phase};
pub use listener::{BindError, Listener};
pub use media_type::is_json;
pub use nearest_name::nearest_name;
pub use request_id::{REQUEST_ID, RequestId};
pub use request_layer::{RequestContext, has_several_hosts, track_request};
pub use server::Server;
pub use shutdown::Shutdown;
pub use startup_switch::StartupSwitch;
pub use strict_json::StrictJson;
