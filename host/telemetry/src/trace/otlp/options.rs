//! Where traces are sent, and how, as plain values.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

/// The version of OpenTelemetry's semantic conventions that the names of attributes follow, those for generative AI included.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.0";

/// Where traces are sent, and how. `Debug` leaves the endpoint out: its query may hold a token.
#[derive(Clone)]
pub struct OtlpOptions {
    /// The whole URL for HTTP, path included; the server for gRPC.
    pub endpoint: Uri,
    /// What the collector speaks.
    pub protocol: Protocol,
    /// Headers of each request. Values that are marked sensitive don't print.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The longest time for one batch, all attempts included.
    pub timeout: Duration,
    /// The authorities that the collector's certificate may come from, in PEM. `None`: those of the machine.
    pub certificate: Option<PathBuf>,
    /// The certificate that the collector is shown.
    pub client: Option<ClientIdentity>,
    /// What waits to be sent.
    pub queue: QueueOptions,
    /// The attributes of this host, such as `service.name`.
    pub resource: Vec<(String, String)>,
}

impl fmt::Debug for OtlpOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("OtlpOptions");
        shown.field("protocol", &self.protocol).field("headers", &self.headers).finish_non_exhaustive()
    }
}

/// What a collector speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    Http,
}

/// A certificate with its key, in PEM.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What waits to be sent, and how much is sent at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// The most spans that wait.
    pub max_spans: usize,
    /// The most spans of one batch, at most `max_spans`.
    pub max_batch: usize,
    /// How long a batch waits for further spans.
    pub delay: Duration,
}
