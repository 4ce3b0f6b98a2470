//! What the sandbox's parts take, one by one and without a host: a fresh instance, a call, a question to the host, one item
//! of a reply. Each for components that do the same in different languages.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use async_trait::async_trait;
use clap::Args;
use masque_runtime::contract::{Delta, Failure, Message, Part, Prompt, Recollection, Turn, User};
use masque_runtime::{
    Call, Grants, Limits, Plugin, Reuse, Sandbox, SandboxConfig, Scope, State, StateEntry, Whose,
};
use serde::{Deserialize, Serialize};

/// A call that does nothing else, so that one question among so many shows.
const QUESTIONS: u32 = 1000;
const WORDS: u32 = 1000;
/// A Python interpreter has some 30 MiB when it begins.
const MEMORY: usize = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Args)]
pub(crate) struct Options {
    /// Personas that ask for a value as often as they are told, each as `LANGUAGE=FILE`.
    #[arg(long)]
    pub(crate) persona: Vec<String>,
    /// Models that say as many words as they are told, each as `LANGUAGE=FILE`, in the same order.
    #[arg(long)]
    pub(crate) model: Vec<String>,
    /// Where compiled components are kept.
    #[arg(long)]
    pub(crate) compiled: PathBuf,
    #[arg(long)]
    pub(crate) rounds: usize,
    /// Calls in a round.
    #[arg(long)]
    pub(crate) calls: u32,
}

/// What one language's components took, in microseconds, a figure for each round.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pieces {
    pub(crate) language: String,
    /// Of the component's file.
    pub(crate) bytes: u64,
    /// A call in an instance that is there.
    pub(crate) call: Vec<f64>,
    /// The same in an instance of its own.
    pub(crate) fresh: Vec<f64>,
    /// One question to the host and its answer.
    pub(crate) question: Vec<f64>,
    /// One item of a reply, written and read alone.
    pub(crate) item: Vec<f64>,
}

struct Language {
    pieces: Pieces,
    persona: Plugin,
    kept: Plugin,
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
        let file = |word: &str| {
            word.split_once('=').map(|(language, file)| (language.to_owned(), PathBuf::from(file)))
        };
        let (language, persona) = file(persona).context("LANGUAGE=FILE")?;
        let (_, model) = file(model).context("LANGUAGE=FILE")?;
        let bytes = std::fs::metadata(&persona)?.len();
        let limits = Limits { memory_bytes: MEMORY, cpu: PATIENCE, wall: PATIENCE, ..Limits::default() };
        let plugin = async |file: &PathBuf, name: &str, reuse: Option<Reuse>| {
            let package = sandbox.load(std::fs::read(file)?.into()).await?;
            let grants = Grants { state: true, reuse, ..Grants::default() };
            anyhow::Ok(Plugin::new(package, name.to_owned(), "{}".to_owned(), grants, limits.clone()))
        };
        Ok(Self {
            persona: plugin(&persona, "fresh", None).await?,
            kept: plugin(&persona, "kept", Some(Reuse::User)).await?,
            model: plugin(&model, "model", None).await?,
            pieces: Pieces { language, bytes, ..Pieces::default() },
        })
    }

    async fn round(&mut self, calls: u32) -> anyhow::Result<()> {
        let nothing = turn("0");
        let call = median(calls, async || compose(&self.kept, &nothing).await).await?;
        let fresh = median(calls, async || compose(&self.persona, &nothing).await).await?;
        let few = calls.div_ceil(20);
        let asking = turn(&QUESTIONS.to_string());
        let asked = median(few, async || compose(&self.kept, &asking).await).await?;
        let silent = median(few, async || generate(&self.model, 0).await).await?;
        let spoken = median(few, async || generate(&self.model, WORDS).await).await?;
        self.pieces.call.push(call);
        self.pieces.fresh.push(fresh);
        self.pieces.question.push((asked - call) / f64::from(QUESTIONS));
        self.pieces.item.push((spoken - silent) / f64::from(WORDS));
        Ok(())
    }
}

/// Of so many calls one after the other, in microseconds.
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
    let whose = Whose { user: "user".to_owned(), conversation: "conversation".to_owned() };
    Call { state: Some(Arc::new(Empty)), whose: Some(whose), ..Call::until(Instant::now() + PATIENCE) }
}

async fn compose(plugin: &Plugin, turn: &Turn) -> anyhow::Result<()> {
    let nothing = Recollection { messages: Vec::new(), memories: Vec::new(), metadata: Vec::new() };
    let prompt = plugin.compose(call(), turn, nothing).await?;
    ensure!(prompt.messages.len() == 1, "another prompt than the turn's message");
    Ok(())
}

async fn generate(plugin: &Plugin, words: u32) -> anyhow::Result<()> {
    let messages = vec![message(&words.to_string())];
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

fn message(text: &str) -> Message {
    Message {
        id: None,
        role: "user".to_owned(),
        parts: vec![Part::Text(text.to_owned())],
        at: None,
        source: None,
        cache: false,
        metadata: Vec::new(),
    }
}

fn turn(text: &str) -> Turn {
    Turn {
        id: "turn".to_owned(),
        attempt: 1,
        conversation: "conversation".to_owned(),
        companion: "companion".to_owned(),
        tenant: "default".to_owned(),
        user: User { id: "user".to_owned(), name: None, locale: None, timezone: None, metadata: Vec::new() },
        message: message(text),
        tail: Vec::new(),
        has_earlier: false,
        now: 0,
        deadline_ms: 60_000,
        metadata: Vec::new(),
    }
}

/// Answers at once, so that what is measured is the way there and back.
struct Empty;

#[async_trait]
impl State for Empty {
    async fn get(&self, _: Scope, _: &str) -> Result<Option<StateEntry>, Failure> {
        Ok(None)
    }
    async fn set(
        &self,
        _: Scope,
        _: &str,
        _: Vec<u8>,
        _: Option<u64>,
        _: Option<Duration>,
    ) -> Result<u64, Failure> {
        Ok(1)
    }
    async fn delete(&self, _: Scope, _: &str, _: Option<u64>) -> Result<(), Failure> {
        Ok(())
    }
    async fn add(&self, _: Scope, _: &str, amount: i64) -> Result<i64, Failure> {
        Ok(amount)
    }
    async fn list(&self, _: Scope, _: &str, _: Option<&str>, _: u32) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }
}
