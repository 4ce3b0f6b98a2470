//! Writes all metrics for a reader such as Prometheus.

use prometheus::TextEncoder;

use super::catalogue::families;
use super::declare::Description;
use super::negotiation::{Format, negotiate};
use super::openmetrics;
use super::scrape::run_hooks;
use super::start::start;

/// All metrics at one moment.
#[derive(Clone, Debug)]
pub struct Exposition {
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The metrics.
    pub body: String,
}

/// Reads all metrics, after the hooks of [`on_scrape`](super::on_scrape), and writes them in the format that `accept` asks
/// for, the value of an `Accept` header. Takes milliseconds and reads files: it belongs on a thread for blocking work.
pub fn encode(accept: Option<&str>) -> Exposition {
    start();
    run_hooks();
    let gathered = prometheus::gather();
    let declared: Vec<&Description> = families().collect();
    let format = negotiate(accept);
    let body = match format {
        Format::OpenMetrics => openmetrics::encode(&gathered, &declared),
        Format::Text => {
            let mut text = String::new();
            if let Err(error) = TextEncoder::new().encode_utf8(&gathered, &mut text) {
                tracing::error!(%error, "not all metrics can be written");
            }
            for declared in declared {
                // `prometheus` leaves out families without series, which a reader then takes for unknown ones.
                if !gathered.iter().any(|family| family.name() == declared.name) {
                    let Description { name, kind, help, .. } = declared;
                    let help = help.replace('\\', "\\\\").replace('\n', "\\n");
                    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
                }
            }
            text
        }
    };
    Exposition { content_type: format.content_type(), body }
}
