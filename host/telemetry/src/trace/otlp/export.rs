//! The queue between the ends of turns and the exporter.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter as _, SpanProcessor,
};
use tokio::runtime::Handle;

use super::client::CollectorClient;
use super::error::OtlpError;
use super::exporter::{LossReport, RuntimeExporter};
use super::files::TlsFiles;
use super::last_failure::LastFailure;
use super::options::{OtlpOptions, Protocol, SCHEMA_URL};
use crate::trace::tracer::SpanSink;

/// Sends traces to a collector until it is [shut down](Self::shutdown).
pub struct OtlpExport(Arc<Batches>);

struct Batches {
    processor: BatchSpanProcessor,
    /// Spans in the processor's queue. The processor itself does not say when it drops.
    queued: Arc<AtomicUsize>,
    max_queued: usize,
    losses: Arc<LossReport>,
}

impl fmt::Debug for OtlpExport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OtlpExport").field("queued", &self.0.queued).finish_non_exhaustive()
    }
}

impl OtlpExport {
    /// Checks that traces could be sent with these options. Nothing is sent.
    ///
    /// # Errors
    /// A file can't be read or used, or the exporter refuses an option.
    pub fn verify(options: &OtlpOptions) -> Result<(), OtlpError> {
        // The client of gRPC parses its files when it connects; the same rules apply to them.
        CollectorClient::new(TlsFiles::read(options)?, LastFailure::default()).map(drop)
    }

    /// Starts sending on the current tokio runtime. The collector need not be there yet.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn start(options: &OtlpOptions) -> Result<Self, OtlpError> {
        Self::verify(options)?;
        let failure = LastFailure::default();
        let mut exporter = exporter(options, &failure)?;
        let attributes =
            options.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
        exporter.set_resource(&Resource::builder_empty().with_schema_url(attributes, SCHEMA_URL).build());
        let queue = options.queue;
        let queued = Arc::new(AtomicUsize::new(0));
        let losses = Arc::new(LossReport::default());
        let exporter = RuntimeExporter {
            exporter: Arc::new(exporter),
            runtime: Handle::current(),
            timeout: options.timeout,
            queued: Arc::clone(&queued),
            losses: Arc::clone(&losses),
            failure,
        };
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(queue.max_spans)
            .with_max_export_batch_size(queue.max_batch)
            .with_scheduled_delay(queue.delay)
            .build();
        let processor = BatchSpanProcessor::new(exporter, config);
        Ok(Self(Arc::new(Batches { processor, queued, max_queued: queue.max_spans, losses })))
    }

    /// Where a tracer puts the traces that it keeps.
    pub fn sink(&self) -> Box<dyn SpanSink> {
        Box::new(BatchSink(Arc::clone(&self.0)))
    }

    /// Sends what waits, for `timeout` at most; the rest is dropped, counted and logged. Traces that end later are dropped.
    pub async fn shutdown(self, timeout: Duration) {
        let batches = Arc::clone(&self.0);
        let ending = tokio::task::spawn_blocking(move || batches.processor.shutdown_with_timeout(timeout));
        // The processor's own timeout ends it; a batch that could not be sent is counted by the exporter.
        let _ = ending.await;
        // Full from here on: what ends later is dropped and counted.
        let left = self.0.queued.swap(usize::MAX, Ordering::AcqRel);
        if left > 0 {
            self.0.losses.add("export", left, "the host stopped before they were sent");
        }
    }
}

/// Puts the spans of a trace into the queue: all of them or none.
struct BatchSink(Arc<Batches>);

impl SpanSink for BatchSink {
    fn export(&self, spans: Vec<SpanData>) {
        let Batches { processor, queued, max_queued, losses } = &*self.0;
        let count = spans.len();
        let fits = |queued: usize| queued.checked_add(count).filter(|all| all <= max_queued);
        if queued.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_err() {
            losses.add("queue", count, "the queue is full: the collector takes them too slowly");
            return;
        }
        for span in spans {
            processor.on_end(span);
        }
    }
}

pub(super) fn exporter(options: &OtlpOptions, failure: &LastFailure) -> Result<OtlpExporter, OtlpError> {
    let files = TlsFiles::read(options)?;
    let endpoint = options.endpoint.to_string();
    match options.protocol {
        Protocol::Http => OtlpExporter::builder()
            .with_http()
            .with_http_client(CollectorClient::new(files, failure.clone())?)
            .with_endpoint(endpoint)
            .with_timeout(options.timeout)
            .with_headers(header_texts(options))
            .build(),
        Protocol::Grpc => {
            let headers: HeaderMap = options.headers.iter().cloned().collect();
            let builder = OtlpExporter::builder()
                .with_tonic()
                .with_endpoint(endpoint)
                .with_timeout(options.timeout)
                .with_metadata(MetadataMap::from_headers(headers));
            match options.endpoint.scheme_str() {
                Some("https") => builder.with_tls_config(tonic_tls(files)).build(),
                _ => builder.build(),
            }
        }
    }
    .map_err(OtlpError::Exporter)
}

fn header_texts(options: &OtlpOptions) -> HashMap<String, String> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    options.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn tonic_tls(files: TlsFiles) -> ClientTlsConfig {
    let config = match files.authorities {
        Some(authorities) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities.pem)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    match files.client {
        Some((certificates, key)) => config.identity(Identity::from_pem(certificates.pem, key.pem)),
        None => config,
    }
}
