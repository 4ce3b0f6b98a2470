//! Everything behind the socket: loaded in order, ended in reverse.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use masque_http::Lifecycle;
use masque_runtime::{Sandbox, SandboxConfig};
use masque_store::{InProcessRateLimits, RateLimits, Store, StoreError};
use masque_store_sqlite::SqliteStore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::active::{self, Active, Reloader};
use crate::api::Services;
use crate::auth::token::Tokens;
use crate::auth::{Authenticator, Identity, Local};
use crate::builtin;
use crate::compiler::compiler;
use crate::config::{Config, ConfigSource, Diagnostic};
use crate::convert;
use crate::limits::Limits;
use crate::turn::{JobWorker, Turns};

/// How often rows past their time are removed.
const SWEEP: Duration = Duration::from_secs(60);
/// How long the audit is kept: what happened since the last yearly review.
const AUDIT: Duration = Duration::from_secs(400 * 24 * 3600);
/// What a background job that runs may take to end.
const JOBS_END: Duration = Duration::from_secs(5);

pub(super) struct Host {
    config: Arc<Config>,
    store: Arc<dyn Store>,
    sandbox: Arc<Sandbox>,
    active: Arc<Active>,
    /// `None` where authentication is off.
    identity: Option<Arc<Identity>>,
    rates: Arc<dyn RateLimits>,
    pub(super) turns: Turns,
    worker: JoinHandle<()>,
    worker_stop: CancellationToken,
    chores: Vec<JoinHandle<()>>,
    chores_stop: CancellationToken,
}

impl Host {
    /// Opens the store, ends what an earlier host left running, loads the plugins and begins the background work.
    ///
    /// `origin` is where the configuration came from, and is followed from here on.
    pub(super) async fn load(config: Arc<Config>, origin: ConfigSource) -> anyhow::Result<Self> {
        let id = Uuid::now_v7();
        let store: Arc<dyn Store> = SqliteStore::open(&config.data.folder).await?;
        let interrupted = store.recover(id).await.context("can't recover the turns of an earlier run")?;
        if interrupted > 0 {
            tracing::warn!(interrupted, "turns that an earlier run did not end are marked interrupted");
        }
        make_plugins_folder(&config.data.plugins)?;
        let sandbox = SandboxConfig {
            compiler: compiler(),
            cache: Some(config.data.compiled.clone()),
            scratch: Some(config.data.folder.join("scratch")),
            ..active::sandbox_config(&config.sandbox)
        };
        let sandbox = Sandbox::new(&sandbox).context("can't set up the sandbox")?;
        let set = active::load(&config, &sandbox, builtin::component)
            .await
            .map_err(|problems| mistakes(&problems))?;
        let active = Arc::new(Active::new(set));
        let identity = match config.auth.required {
            true => Some(Arc::new(Identity::open(Tokens::new(&config.auth)?, Arc::clone(&store)).await?)),
            false => None,
        };
        let turns = Turns::new(Arc::clone(&store), Arc::clone(&active), convert::turn_options(&config), id);

        let worker_stop = CancellationToken::new();
        let worker = JobWorker::new(Arc::clone(&store), Arc::clone(&active), config.turn.timeout, id)
            .start(turns.new_jobs(), worker_stop.clone());
        let chores_stop = CancellationToken::new();
        let leases = {
            let (turns, stop) = (turns.clone(), chores_stop.clone());
            tokio::spawn(async move { turns.keep_leases(stop).await })
        };
        let reloader = Reloader::new(
            origin,
            Arc::clone(&config),
            Arc::clone(&sandbox),
            Arc::clone(&active),
            builtin::component,
        );
        // A host that drains loads nothing more.
        let follow = tokio::spawn(active::follow(reloader, worker_stop.clone()));
        let rates: Arc<dyn RateLimits> = Arc::new(InProcessRateLimits::default());
        let sweep = tokio::spawn(sweep(Arc::clone(&store), Arc::clone(&rates), chores_stop.clone()));
        let mut chores = vec![leases, follow, sweep];
        if let Some(identity) = &identity {
            let (identity, stop) = (Arc::clone(identity), chores_stop.clone());
            chores.push(tokio::spawn(async move { identity.follow(stop).await }));
        }
        Ok(Self {
            config,
            store,
            sandbox,
            active,
            identity,
            rates,
            turns,
            worker,
            worker_stop,
            chores,
            chores_stop,
        })
    }

    pub(super) fn services(&self, lifecycle: Lifecycle, started: Instant) -> Services {
        let authenticator: Arc<dyn Authenticator> = match &self.identity {
            Some(identity) => Arc::clone(identity) as Arc<dyn Authenticator>,
            None => Arc::new(Local),
        };
        Services {
            config: Arc::clone(&self.config),
            store: self.store.clone(),
            sandbox: Arc::clone(&self.sandbox),
            active: Arc::clone(&self.active),
            turns: self.turns.clone(),
            authenticator,
            identity: self.identity.clone(),
            limits: Limits::new(self.config.limits, Arc::clone(&self.rates)),
            lifecycle,
            started,
        }
    }

    /// Takes no more turns and lets those that run end within `timeout`; the rest are interrupted, at once after `cut`.
    pub(super) async fn drain(&self, timeout: Duration, cut: CancellationToken) {
        self.worker_stop.cancel();
        self.turns.drain(std::time::Instant::now() + timeout, cut).await;
    }

    /// To be called when nothing uses the store any more.
    pub(super) async fn close(self) {
        let Self { worker, chores, chores_stop, store, .. } = self;
        let mut worker = worker;
        if tokio::time::timeout(JOBS_END, &mut worker).await.is_err() {
            // Its job is leased, and will be taken again after the next start.
            worker.abort();
        }
        chores_stop.cancel();
        for chore in chores {
            // A chore that panicked has been reported, and there is nothing left for it to do.
            let _ = chore.await;
        }
        store.close().await;
    }
}

/// So that whoever wants to add a plugin finds the place.
fn make_plugins_folder(folder: &Path) -> anyhow::Result<()> {
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("can't make the plugins folder {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes rows that are past their time.
async fn sweep(store: Arc<dyn Store>, rates: Arc<dyn RateLimits>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        rates.forget().await;
        loop {
            match past(&*store).await {
                Ok(0) => break,
                Ok(removed) => tracing::debug!(removed, "rows past their time were removed"),
                Err(error) => {
                    tracing::warn!(%error, "rows past their time could not be removed");
                    break;
                }
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }
}

/// Removes some of what is past its time; how much.
async fn past(store: &dyn Store) -> Result<u64, StoreError> {
    Ok(store.sweep().await? + store.forget_audit(AUDIT).await?)
}

/// All mistakes that the plugins showed, a line each.
fn mistakes(problems: &[Diagnostic]) -> anyhow::Error {
    let mut text = String::from("the configuration can't be used:");
    for problem in problems {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {problem}");
    }
    anyhow!(text)
}
