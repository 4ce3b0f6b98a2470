//! What the tests of this crate share: options, built components, and an active set made from a configuration.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use masque_companions::{ActiveSet, sandbox_config};
use masque_config::{ConfigSource, Environment, Flags};
use masque_grants::Builtin;
use masque_runtime::{Sandbox, SandboxConfig};
use masque_store::{Owner, RecordedTurn};
use masque_telemetry::trace::{SpanData, SpanSink, Tracer};

use crate::jobs::JobOptions;
use crate::options::Options;
use crate::records::{BuiltRecord, RecordOptions, RecordSink};

/// The defaults of a host.
pub(crate) fn options() -> Options {
    Options {
        timeout: Duration::from_secs(120),
        max_concurrent: 256,
        max_concurrent_per_user: None,
        max_waiting: 4,
        max_wait: Duration::from_secs(30),
        linger: Duration::from_secs(1),
        linger_keyed: Duration::from_secs(15),
        log_ttl: Duration::from_secs(60),
        max_reply_bytes: 1 << 20,
        stream_hold: Duration::from_secs(10),
        heartbeat: Duration::from_secs(10),
        tracer: Tracer::off(),
        records: RecordOptions::OFF,
        record_sink: None,
    }
}

/// The defaults of a host for its background jobs.
pub(crate) fn job_options() -> JobOptions {
    JobOptions {
        max_concurrent: NonZeroU32::new(4).unwrap(),
        timeout: Duration::from_secs(60),
        tracer: Tracer::off(),
    }
}

/// Keeps the spans of traces that are exported.
#[derive(Clone, Default)]
pub(crate) struct KeptSpans(Arc<Mutex<Vec<SpanData>>>);

impl KeptSpans {
    /// A tracer that exports to it all traces that failed, and this share of the others.
    pub(crate) fn tracer(&self, ratio: f64) -> Tracer {
        Tracer::new(Box::new(self.clone()), ratio)
    }

    pub(crate) fn all(&self) -> Vec<SpanData> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.all().iter().map(|span| span.name.to_string()).collect()
    }
}

impl SpanSink for KeptSpans {
    fn export(&self, spans: Vec<SpanData>) {
        self.0.lock().unwrap().extend(spans);
    }
}

/// Keeps the records of turns.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptRecords(Arc<Mutex<Vec<RecordedTurn>>>);

impl KeptRecords {
    pub(crate) fn all(&self) -> Vec<RecordedTurn> {
        self.0.lock().unwrap().clone()
    }
}

impl RecordSink for KeptRecords {
    fn push(&self, _: &Owner, record: &BuiltRecord) {
        let read = RecordedTurn::from_json(&serde_json::to_vec(record).unwrap()).unwrap();
        self.0.lock().unwrap().push(read);
    }
}

/// The active set of a configuration, which is written to `folder`.
pub(crate) async fn load_set(folder: &Path, config: &str) -> ActiveSet {
    let file = folder.join("masque.toml");
    std::fs::write(&file, config).unwrap();
    let source = ConfigSource {
        flags: Flags { config: Some(file), data: Some(folder.join("data")), ..Flags::default() },
        environment: Environment::default(),
        folder: PathBuf::new(),
        default_card: include_str!("../../../plugins/card/cards/elara.json").into(),
    };
    let config = source.load().unwrap().config;
    // One at a time: the first test compiles a component, the others find it compiled.
    let _one = LOADING.lock().await;
    // Compiles in this process: the binary that runs the tests has no command that compiles.
    let cache = Some(target().join("tmp/compiled"));
    let sandbox = SandboxConfig { cache, ..sandbox_config(&config.sandbox) };
    let sandbox = Sandbox::new(&sandbox).unwrap();
    masque_companions::load(&config, &sandbox, component).await.unwrap()
}

/// Compiling takes seconds, and almost every test needs the same components.
static LOADING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The path of a component that was built for the tests.
pub(crate) fn fixture(name: &str) -> PathBuf {
    built("MASQUE_FIXTURES", "fixtures", name)
}

/// The bytes of a built-in component.
fn component(builtin: Builtin) -> &'static [u8] {
    let file = built("MASQUE_PLUGINS", "plugins", builtin.name());
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).leak()
}

/// A component that `cargo xtask build` has built: in the folder that `variable` names, or in the target folder.
fn built(variable: &str, folder: &str, name: &str) -> PathBuf {
    let folder = std::env::var_os(variable).map_or_else(|| target().join(folder), PathBuf::from);
    folder.join(format!("{name}.wasm"))
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from)
}
