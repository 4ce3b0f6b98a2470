//! Measures the parts of the sandbox without a host: a fresh instance, a call, a host call, an item of a reply. Each is
//! measured for components in different languages that do the same.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use clap::Args;
use masque_grants::{Grants, Limits, Reuse};
use masque_runtime::contract::{Delta, Failure, Message, Prompt, Recollection, Turn, User};
use masque_runtime::{Call, Plugin, PluginStateScope, ReuseKey, Sandbox, SandboxConfig, State, StateEntry};
use serde::{Deserialize, Serialize};

/// Host calls in a call that measures them. Their time is the difference to a call with none.
const HOST_CALLS: u32 = 1000;
/// Items of a reply in a call that measures them.
const ITEMS: u32 = 1000;
/// The memory limit of a plugin, in bytes. A Python interpreter uses about 30 MiB at its start.
const MEMORY: usize = 256 << 20;
/// The limit of processor time and wall time of a call.
const TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Args)]
pub(crate) struct Options {
    /// Personas that read a value as often as the message says, each as `LANGUAGE=FILE`.
    #[arg(long)]
    pub(crate) persona: Vec<String>,
    /// Models that write as many words as the prompt says, each as `LANGUAGE=FILE`, in the same order.
    #[arg(long)]
    pub(crate) model: Vec<String>,
    /// The folder of compiled components.
    #[arg(long)]
    pub(crate) compiled: PathBuf,
    #[arg(long)]
    pub(crate) rounds: usize,
    /// The number of calls in a round.
    #[arg(long)]
    pub(crate) calls: u32,
}

/// The times of a language's components, in microseconds, one for each round.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pieces {
    pub(crate) language: String,
    /// The size of the persona's file.
    pub(crate) bytes: u64,
    /// A call in a reused instance.
    pub(crate) call: Vec<f64>,
    /// A call in a fresh instance.
    pub(crate) fresh: Vec<f64>,
    /// A host call.
    pub(crate) host_call: Vec<f64>,
    /// An item of a reply, written and read alone.
    pub(crate) item: Vec<f64>,
}

struct Language {
    pieces: Pieces,
    persona: Plugin,
    reused: Plugin,
    model: Plugin,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    ensure!(options.persona.len() == options.model.len(), "a persona and a model for each language");
    let config = SandboxConfig { instances: 16, cache: Some(options.compiled), ..SandboxConfig::default() };
    let sandbox = Sandbox::new(&config)?;
    let mut languages = Vec::new();
    for (persona, model) in options.persona.iter().zip(&options.model) {
        languages.push(Language::load(&sandbox, persona, model).await?);
    }
    for _ in 0..options.rounds {
        for language in &mut languages {
            language.round(options.calls).await?;
        }
    }
    let pieces: Vec<_> = languages.into_iter().map(|language| language.pieces).collect();
    println!("{}", serde_json::to_string(&pieces)?);
    Ok(())
}

impl Language {
    async fn load(sandbox: &Arc<Sandbox>, persona: &str, model: &str) -> anyhow::Result<Self> {
        let file = |argument: &str| {
            argument.split_once('=').map(|(language, file)| (language.to_owned(), PathBuf::from(file)))
        };
        let (language, persona) = file(persona).context("LANGUAGE=FILE")?;
        let (_, model) = file(model).context("LANGUAGE=FILE")?;
        let bytes = std::fs::metadata(&persona)?.len();
        let limits = Limits { memory_bytes: MEMORY, cpu: TIMEOUT, wall: TIMEOUT, ..Limits::default() };
        let plugin = async |file: &PathBuf, name: &str, reuse: Option<Reuse>| {
            let package = sandbox.load(std::fs::read(file)?.into(), &Limits::default()).await?;
            let grants = Grants { state: true, reuse, ..Grants::default() };
            anyhow::Ok(Plugin::new(package, name.to_owned(), "{}".to_owned(), grants, limits.clone()))
        };
        Ok(Self {
            persona: plugin(&persona, "fresh", None).await?,
            reused: plugin(&persona, "kept", Some(Reuse::User)).await?,
            model: plugin(&model, "model", None).await?,
            pieces: Pieces { language, bytes, ..Pieces::default() },
        })
    }

    async fn round(&mut self, calls: u32) -> anyhow::Result<()> {
        let no_host_calls = turn("0");
        let call = median(calls, async || compose(&self.reused, &no_host_calls).await).await?;
        let fresh = median(calls, async || compose(&self.persona, &no_host_calls).await).await?;
        let few = calls.div_ceil(20);
        let many_host_calls = turn(&HOST_CALLS.to_string());
        let with_host_calls = median(few, async || compose(&self.reused, &many_host_calls).await).await?;
        let without_items = median(few, async || generate(&self.model, 0).await).await?;
        let with_items = median(few, async || generate(&self.model, ITEMS).await).await?;
        self.pieces.call.push(call);
        self.pieces.fresh.push(fresh);
        self.pieces.host_call.push((with_host_calls - call) / f64::from(HOST_CALLS));
        self.pieces.item.push((with_items - without_items) / f64::from(ITEMS));
        Ok(())
    }
}

/// Returns the median time of calls one after the other, in microseconds.
async fn median(calls: u32, one: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    one().await?;
    let mut times = Vec::new();
    for _ in 0..calls {
        let begun = Instant::now();
        one().await?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().context("no calls")
}

fn call() -> Call {
    let reuse_key = ReuseKey { user: "user".to_owned(), conversation: "conversation".to_owned() };
    Call {
        state: Some(Arc::new(EmptyState)),
        reuse_key: Some(reuse_key),
        ..Call::until(Instant::now() + TIMEOUT)
    }
}

async fn compose(plugin: &Plugin, turn: &Turn) -> anyhow::Result<()> {
    let nothing = Recollection { messages: Vec::new(), memories: Vec::new(), metadata: Vec::new() };
    let prompt = plugin.compose(call(), turn, nothing).await?;
    ensure!(prompt.messages.len() == 1, "another prompt than the turn's message");
    Ok(())
}

async fn generate(plugin: &Plugin, words: u32) -> anyhow::Result<()> {
    let messages = vec![Message::new("user", words.to_string())];
    let prompt = Prompt { messages, tools: Vec::new(), options: Vec::new(), metadata: Vec::new() };
    let mut deltas = plugin.generate(call(), &prompt).await?;
    let (mut said, mut ended) = (0, false);
    while let Some(batch) = deltas.next().await {
        for delta in batch? {
            said += u32::from(matches!(delta, Delta::Text(_)));
            ended = ended || matches!(delta, Delta::Finish(_));
        }
    }
    ensure!(ended && said == words, "{said} words of {words}, ended: {ended}");
    Ok(())
}

fn turn(text: &str) -> Turn {
    Turn {
        id: "turn".into(),
        attempt: 1,
        conversation: "conversation".into(),
        companion: "companion".into(),
        tenant: "default".into(),
        user: User { id: "user".into(), name: None, locale: None, timezone: None, metadata: Vec::new() },
        message: Message::new("user", text),
        tail: Vec::new(),
        has_earlier: false,
        now: 0,
        deadline_ms: 60_000,
        metadata: Vec::new(),
    }
}

/// A state that answers at once, so that only the transition between guest and host is measured.
struct EmptyState;

#[async_trait]
impl State for EmptyState {
    async fn get(&self, _: PluginStateScope, _: &str) -> Result<Option<StateEntry>, Failure> {
        Ok(None)
    }
    async fn set(
        &self,
        _: PluginStateScope,
        _: &str,
        _: Vec<u8>,
        _: Option<u64>,
        _: Option<Duration>,
    ) -> Result<u64, Failure> {
        Ok(1)
    }
    async fn delete(&self, _: PluginStateScope, _: &str, _: Option<u64>) -> Result<(), Failure> {
        Ok(())
    }
    async fn add(&self, _: PluginStateScope, _: &str, amount: i64) -> Result<i64, Failure> {
        Ok(amount)
    }
    async fn list(
        &self,
        _: PluginStateScope,
        _: &str,
        _: Option<&str>,
        _: u32,
    ) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
}
