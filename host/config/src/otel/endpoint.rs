//! Where the collector is, and what it speaks.

use std::time::Duration;

use masque_grants::Secret;

use super::variables::{Shared, Variables};
use crate::diagnostic::{Diagnostic, Location};

pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The path of traces below an endpoint that is that of all signals.
const TRACES_PATH: &str = "/v1/traces";
/// The port on which collectors listen for gRPC.
const GRPC_PORT: &str = ":4317";

/// What a collector speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceProtocol {
    /// `grpc`
    Grpc,
    /// `http/protobuf`
    Http,
}

/// The protocol; `http/protobuf` if none is given, as OpenTelemetry recommends.
pub(super) fn protocol(variables: Variables<'_>) -> TraceProtocol {
    match variables.shared(Shared::Protocol) {
        None | Some((_, "http/protobuf")) => TraceProtocol::Http,
        Some((_, "grpc")) => TraceProtocol::Grpc,
        Some((name, _)) => {
            let what = "traces can't be sent with this protocol";
            variables.refuse(name, what, "Set it to `grpc` or `http/protobuf`.");
            TraceProtocol::Http
        }
    }
}

/// The URL of the collector, and the variable that names it. After a mistake, the default.
pub(super) fn endpoint(variables: Variables<'_>, protocol: TraceProtocol) -> (&'static str, Secret) {
    let [of_traces, of_all] = Shared::Endpoint.names();
    let default = || match protocol {
        TraceProtocol::Grpc => Secret::from("http://localhost:4317".to_owned()),
        TraceProtocol::Http => Secret::from(format!("http://localhost:4318{TRACES_PATH}")),
    };
    let Some((name, url)) = variables.shared(Shared::Endpoint) else {
        return (of_all, default());
    };
    if let Some(what) = mistake(url) {
        variables.refuse(
            name,
            what,
            "Write for example `http://localhost:4318`, and a token into OTEL_EXPORTER_OTLP_HEADERS.",
        );
        // What is read of an invalid configuration is verified, too: the mistake would be reported twice.
        return (name, default());
    }
    if protocol == TraceProtocol::Http
        && variables.shared(Shared::Protocol).is_none()
        && authority(url).is_some_and(|authority| authority.ends_with(GRPC_PORT))
    {
        variables.report.add(Diagnostic::warning(
            Location::Variable(name.to_owned()),
            "port 4317 is that of gRPC, and traces are sent over HTTP",
            "Set OTEL_EXPORTER_OTLP_PROTOCOL to `grpc`, or name the port 4318.",
        ));
    }
    let is_whole = name == of_traces || protocol == TraceProtocol::Grpc;
    (name, Secret::from(if is_whole { url.to_owned() } else { with_path(url) }))
}

/// What keeps the URL from being used. It is not quoted: it may hold a password or a token.
fn mistake(url: &str) -> Option<&'static str> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Some("the endpoint must be a URL that begins with `http://` or `https://`");
    }
    let authority = authority(url).unwrap_or_default();
    if authority.contains('@') {
        return Some("the endpoint may have no user and password");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    (host.is_empty() || !is_port || !url.bytes().all(|byte| byte.is_ascii_graphic()))
        .then_some("the endpoint is not a URL")
}

/// The host with its port.
fn authority(url: &str) -> Option<&str> {
    url.split_once("://")?.1.split(['/', '?', '#']).next()
}

/// The URL with the path of traces below its own.
fn with_path(url: &str) -> String {
    let (url, query) = match url.split_once('?') {
        Some((url, query)) => (url, format!("?{query}")),
        None => (url, String::new()),
    };
    format!("{}{TRACES_PATH}{query}", url.trim_end_matches('/'))
}
