//! The options of turns and of background jobs.

use std::time::Duration;

use masque_config as config;
use masque_config::Config;
use masque_telemetry::trace::Tracer;
use masque_turns::{JobOptions, Options, RecordContent, RecordOptions};

/// How often a host that shares its database says that it lives. Cancellations and the number of live hosts come with the
/// answer, and each answer is one statement.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The same for a host with a database of its own. Only its leases need it, and they last three times as long.
const HEARTBEAT_ALONE: Duration = Duration::from_secs(10);

/// The limits of turns.
pub(crate) fn options(config: &Config) -> Options {
    Options {
        timeout: config.turn.timeout,
        max_concurrent: config.turn.max_concurrent,
        max_concurrent_per_user: config.limits.turns.map(|turns| turns as usize),
        max_waiting: config.turn.waiting,
        max_wait: config.turn.wait,
        linger: config.turn.linger,
        linger_keyed: config.turn.linger_keyed,
        log_ttl: config.turn.log_ttl,
        max_reply_bytes: config.turn.reply_bytes,
        stream_hold: config.stream.hold,
        heartbeat: if config.database.is_some() { HEARTBEAT } else { HEARTBEAT_ALONE },
        // Where traces and records go is decided where the host is built.
        tracer: Tracer::off(),
        records: record_options(&config.records),
        record_sink: None,
    }
}

/// The limits of background jobs.
pub(crate) fn job_options(config: &Config) -> JobOptions {
    let tracer = Tracer::off();
    JobOptions { max_concurrent: config.jobs.max_concurrent, timeout: config.jobs.timeout, tracer }
}

/// Which turns are recorded.
fn record_options(records: &config::Records) -> RecordOptions {
    let content = match records.content {
        config::RecordContent::Full => RecordContent::Full,
        config::RecordContent::Digests => RecordContent::Digests,
        config::RecordContent::Off => RecordContent::Off,
    };
    RecordOptions { content, share: records.share }
}
