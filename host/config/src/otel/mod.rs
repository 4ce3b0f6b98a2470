//! The standard `OTEL_*` variables: where the traces of turns are sent, which ones, and what they contain.
//!
//! Headers hold tokens, and the query of an endpoint may, so no diagnostic quotes them. Variables are read only where traces are
//! sent: a machine may set some for all its services.

mod endpoint;
mod pairs;
mod queue;
mod sampler;
mod variables;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use masque_grants::Secret;

use crate::environment::{Environment, boolean};
use crate::report::Report;

use variables::{Shared, Variables};

pub use endpoint::TraceProtocol;
pub use queue::TraceQueue;
pub use sampler::TraceSampling;

const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";
/// The variable of OpenTelemetry's own instrumentations of models.
const CONTENT: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
const DEFAULT_SERVICE_NAME: &str = "masque";

/// Where the traces of turns are sent, which ones, and what they contain.
#[derive(Clone, Debug)]
pub struct Traces {
    /// The whole URL for HTTP, path included; the server for gRPC.
    pub endpoint: Secret,
    /// The variable that names the endpoint, for mistakes that are found later.
    pub endpoint_variable: &'static str,
    /// What the collector speaks.
    pub protocol: TraceProtocol,
    /// Headers of each request.
    pub headers: Vec<(String, Secret)>,
    /// The longest time for one batch.
    pub timeout: Duration,
    /// The authorities that the collector's certificate may come from.
    pub certificate: Option<PathBuf>,
    /// The certificate that the collector is shown, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// What waits to be sent.
    pub queue: TraceQueue,
    /// Which traces are kept.
    pub sampling: TraceSampling,
    /// Whether spans contain what users and models wrote.
    pub captures_content: bool,
    /// `service.name` and what else the operator says of this service.
    pub resource: Vec<(String, String)>,
}

/// Reads the variables. `None`: no traces are sent. Paths are relative to `folder`.
pub(crate) fn read(environment: &Environment, folder: &Path, report: &Report<'_>) -> Option<Traces> {
    let variables = Variables { environment, report };
    if boolean(environment, DISABLED, report) == Some(true) {
        return None;
    }
    let has_endpoint = variables.shared(Shared::Endpoint).is_some();
    let is_exported = match environment.get(EXPORTER).map(str::trim) {
        None => has_endpoint,
        Some("otlp") => true,
        Some("none") => false,
        Some(_) => {
            variables.refuse(EXPORTER, "traces can be sent with `otlp` only", "Set it to `otlp` or `none`.");
            false
        }
    };
    if !is_exported {
        return None;
    }
    let protocol = endpoint::protocol(variables);
    let (endpoint_variable, endpoint) = endpoint::endpoint(variables, protocol);
    let queue = queue::read(variables);
    if let Some((name, algorithm)) = variables.shared(Shared::Compression)
        && !algorithm.eq_ignore_ascii_case("none")
    {
        variables.refuse(name, "traces are sent without compression", "Set it to `none`, or unset it.");
    }
    let headers = variables.shared(Shared::Headers).map(|(name, text)| pairs::headers(variables, name, text));
    let timeout = match variables.shared(Shared::Timeout) {
        Some((name, _)) => queue::milliseconds(variables, name, endpoint::DEFAULT_TIMEOUT),
        None => endpoint::DEFAULT_TIMEOUT,
    };
    Some(Traces {
        endpoint,
        endpoint_variable,
        protocol,
        headers: headers.unwrap_or_default(),
        timeout: timeout.min(queue::export_timeout(variables)),
        certificate: variables.path(Shared::Certificate, folder),
        client: client(variables, folder),
        queue,
        sampling: sampler::read(variables),
        captures_content: captures_content(variables),
        resource: resource(variables),
    })
}

fn client(variables: Variables<'_>, folder: &Path) -> Option<(PathBuf, PathBuf)> {
    match (variables.shared(Shared::ClientCertificate), variables.shared(Shared::ClientKey)) {
        (Some((_, certificate)), Some((_, key))) => Some((folder.join(certificate), folder.join(key))),
        (Some((name, _)), None) | (None, Some((name, _))) => {
            let remedy =
                "Set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY, or neither.";
            variables.refuse(
                name,
                "a certificate for the collector needs its key, and a key its certificate",
                remedy,
            );
            None
        }
        (None, None) => None,
    }
}

/// OpenTelemetry's instrumentations know `true` and `false`, and the names of where content goes.
fn captures_content(variables: Variables<'_>) -> bool {
    let Some(value) = variables.get(CONTENT) else { return false };
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "span_only" | "span_and_event" => true,
        "false" | "no_content" => false,
        _ => {
            let remedy = "Set it to `SPAN_ONLY` (or `true`) or to `NO_CONTENT` (or `false`).";
            variables.refuse(
                CONTENT,
                "the text of messages can be captured in spans only, or not at all",
                remedy,
            );
            false
        }
    }
}

/// The attributes of the service. Of two with one name, [`SERVICE_NAME`] and then the later counts.
fn resource(variables: Variables<'_>) -> Vec<(String, String)> {
    const NAME: &str = "service.name";
    let given = variables.get(RESOURCE).map(|text| pairs::attributes(variables, RESOURCE, text));
    let mut attributes: Vec<(String, String)> = given.unwrap_or_default();
    if let Some(name) = variables.get(SERVICE_NAME) {
        attributes.retain(|(key, _)| key != NAME);
        attributes.push((NAME.to_owned(), name.trim().to_owned()));
    } else if !attributes.iter().any(|(key, _)| key == NAME) {
        attributes.push((NAME.to_owned(), DEFAULT_SERVICE_NAME.to_owned()));
    }
    attributes
}
