//! The traces of a host, from the configuration to the collector.

use anyhow::Context;
use masque_config::Config;
use masque_telemetry::trace::Tracer;
use masque_telemetry::trace::otlp::OtlpExport;
use uuid::Uuid;

use crate::convert;

/// Begins the traces of the host `id`, and sends them where the configuration says so.
///
/// # Errors
/// What keeps traces from being sent, as far as it is known without asking the collector.
pub(super) fn open(config: &Config, id: Uuid) -> anyhow::Result<(Tracer, Option<OtlpExport>)> {
    let Some(traces) = &config.traces else { return Ok((Tracer::off(), None)) };
    let export = OtlpExport::start(&convert::traces::options(traces, id)?).context("can't send traces")?;
    if traces.captures_content {
        tracing::warn!("traces contain what users and models write");
    }
    Ok((convert::traces::tracer(traces, &export), Some(export)))
}
