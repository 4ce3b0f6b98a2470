//! The services behind the listeners: loaded in order, closed in reverse order.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use masque_auth::limits::UsageLimiter;
use masque_auth::{Authenticator, Identity, LocalAuthenticator, Tokens};
use masque_http::Lifecycle;
use masque_runtime::{Sandbox, SandboxConfig};
use masque_store::{ErasureList, Shared, Store};
use masque_store_sqlite::Folder;
use masque_telemetry::trace::otlp::OtlpExport;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::erasures::complete_erasures;
use super::predecessor;
use super::recovery::recover_continuously;
use super::retention::{KeptTimes, remove_expired};
use super::sandbox_slots::Slots;
use super::shared_sets;
use super::state_metrics::StateMetrics;
use super::supervisor::{Supervisor, joined};
use super::traces;
use crate::builtins;
use crate::compiler::compiler;
use crate::convert;
use crate::shared;
use crate::store::{self, OpenStore};
use masque_api::Services;
use masque_companions::{self as active, Active, Reloader};
use masque_config::{Config, ConfigSource, Diagnostic};
use masque_turns::{JobWorker, LEASE, RecordQueue, Turns};

/// How long a running background job may take to end when the host stops.
const JOBS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the collector may take for the last traces.
const TRACES_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the store may take to note that the host is gone.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// A loaded host.
pub(super) struct Host {
    /// Names this process in the store.
    id: Uuid,
    config: Arc<Config>,
    store: Arc<dyn Store>,
    /// The lock of the data folder, where the store does not hold it.
    folder: Option<Folder>,
    sandbox: Arc<Sandbox>,
    active: Arc<Active>,
    /// `None` where authentication is off.
    identity: Option<Arc<Identity>>,
    shared: Shared,
    /// Told when an erasure has begun.
    erasures: Arc<Notify>,
    /// `None` where no traces are sent.
    export: Option<OtlpExport>,
    pub(super) turns: Turns,
    worker: JoinHandle<()>,
    worker_stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    tasks_stop: CancellationToken,
}

impl Host {
    /// Opens the store, marks turns that an earlier host left running as interrupted, loads the plugins, and starts the
    /// background tasks under `supervisor`. The files of `source` are followed from here on. Waits for `succession` for
    /// another host to leave the data folder.
    ///
    /// # Errors
    /// What keeps the host from starting, in a sentence for the operator.
    pub(super) async fn load(
        config: Arc<Config>,
        source: ConfigSource,
        supervisor: &Supervisor,
        succession: Option<Duration>,
    ) -> anyhow::Result<Self> {
        let id = Uuid::now_v7();
        let OpenStore { store, database, pool, folder, active_sets } =
            store::open(&config, succession).await?;
        // Other hosts count this one before it runs a turn or a job.
        store.heartbeat(id, &[], LEASE).await.context("can't tell the store that this host lives")?;
        if folder.is_some() {
            predecessor::succeed(&config.data.folder, &*store, id).await?;
        }
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
        let shared_sets = active_sets.map(|store| shared_sets::open(store, id, &config, &sandbox));
        let set = match &shared_sets {
            Some(shared_sets) => shared_sets.first_set(&config).await,
            None => active::load(&config, &sandbox, builtins::component).await,
        };
        let set = set.map_err(|problems| join_errors(&problems))?;
        let active = Arc::new(Active::new(set));
        let identity = match config.auth.required {
            true => {
                let tokens = Tokens::open(convert::auth::token_options(&config.auth))?;
                Some(Arc::new(Identity::open(tokens, Arc::clone(&store)).await?))
            }
            false => None,
        };
        let shared = shared::open(&config, &*store, id).await?;
        let (tracer, export) = traces::open(&config, id)?;
        let records = Arc::new(RecordQueue::new(config.records.max_record_bytes));
        tracing::info!(content = config.records.content.name(), "records of turns");
        let turns = Turns::new(
            Arc::clone(&store),
            Arc::clone(&active),
            masque_turns::Options {
                tracer: tracer.clone(),
                record_sink: Some(Arc::clone(&records) as _),
                ..convert::turns::options(&config)
            },
            shared.clone(),
            id,
        );

        let (worker_stop, tasks_stop) = (CancellationToken::new(), CancellationToken::new());
        // A worker that ends aborts the jobs that it runs. Their leases expire, and a job that still ended can't complete
        // under the epoch that another run of it has, so another worker can begin at once.
        let worker = supervisor.spawn_restarting("the worker of background jobs", &worker_stop, {
            let (store, active, stop) = (Arc::clone(&store), Arc::clone(&active), worker_stop.clone());
            let options = masque_turns::JobOptions { tracer, ..convert::turns::job_options(&config) };
            let new_jobs = turns.new_jobs();
            let (live_hosts, budgets) = (shared.live_hosts.clone(), turns.budgets());
            move || {
                let (store, active, budgets) =
                    (Arc::clone(&store), Arc::clone(&active), Arc::clone(&budgets));
                let worker = JobWorker::new(store, active, budgets, options.clone(), live_hosts.clone(), id);
                joined(worker.start(Arc::clone(&new_jobs), stop.clone()))
            }
        });
        let spending = supervisor.spawn_restarting("the report of used tokens", &tasks_stop, {
            let (budgets, stop) = (turns.budgets(), tasks_stop.clone());
            move || {
                let (budgets, stop) = (Arc::clone(&budgets), stop.clone());
                async move {
                    // It ends only when it is told to stop.
                    let _stopped = stop.run_until_cancelled(budgets.keep_reporting()).await;
                }
            }
        });
        // Not started again: it would not know when the leases of running turns end.
        let leases = supervisor.spawn("the renewal of leases", &tasks_stop, {
            let (turns, stop) = (turns.clone(), tasks_stop.clone());
            async move { turns.keep_leases(stop).await }
        });
        let inbox = supervisor.spawn_restarting("the messages of other hosts", &tasks_stop, {
            let (turns, stop) = (turns.clone(), tasks_stop.clone());
            move || {
                let (turns, stop) = (turns.clone(), stop.clone());
                async move { turns.follow_inbox(stop).await }
            }
        });
        // A draining host loads no new plugins. A new reloader compares the files with the set in use.
        let follow = supervisor.spawn_restarting("the hot reload", &worker_stop, {
            let (config, sandbox, active) = (Arc::clone(&config), Arc::clone(&sandbox), Arc::clone(&active));
            let stop = worker_stop.clone();
            move || {
                let (source, config, active) = (source.clone(), Arc::clone(&config), Arc::clone(&active));
                let (sandbox, shared_sets, stop) = (Arc::clone(&sandbox), shared_sets.clone(), stop.clone());
                async move {
                    match shared_sets {
                        Some(shared_sets) => shared_sets.follow(source, config, active, stop).await,
                        None => {
                            let reloader =
                                Reloader::new(source, config, sandbox, active, builtins::component);
                            active::follow(reloader, stop).await;
                        }
                    }
                }
            }
        });
        let rates = Arc::clone(&shared.rates);
        let sweep = supervisor.spawn_restarting("the sweep", &tasks_stop, {
            let (store, rates, stop) = (Arc::clone(&store), Arc::clone(&rates), tasks_stop.clone());
            let kept = KeptTimes::of(&config);
            move || remove_expired(Arc::clone(&store), Arc::clone(&rates), kept, stop.clone())
        });
        let write_records = supervisor.spawn_restarting("the writer of turn records", &tasks_stop, {
            let (store, stop) = (Arc::clone(&store), tasks_stop.clone());
            move || {
                let (records, store, stop) = (Arc::clone(&records), Arc::clone(&store), stop.clone());
                async move { records.keep_writing(store, stop).await }
            }
        });
        let erasures = Arc::new(Notify::new());
        let erase = supervisor.spawn_restarting("the erasure of users", &tasks_stop, {
            let (store, begun, stop) = (Arc::clone(&store), Arc::clone(&erasures), tasks_stop.clone());
            let list = ErasureList::at(config.erasure.list(&config.data.folder));
            move || complete_erasures(Arc::clone(&store), list.clone(), Arc::clone(&begun), stop.clone())
        });
        let store_failure = supervisor.watch_failure(&tasks_stop, {
            let store = Arc::clone(&store);
            async move { store.failed().await.to_string() }
        });
        let ticker_end = supervisor.watch_failure(&tasks_stop, {
            let sandbox = Arc::clone(&sandbox);
            async move {
                sandbox.ticker_ended().await;
                "the thread that makes plugins yield ended".to_owned()
            }
        });
        let mut tasks = vec![leases, spending, inbox, follow, sweep, erase, store_failure, ticker_end];
        tasks.push(write_records);
        tasks.push(supervisor.spawn_restarting("the recovery of turns", &tasks_stop, {
            let (store, stop) = (Arc::clone(&store), tasks_stop.clone());
            move || recover_continuously(Arc::clone(&store), id, stop.clone())
        }));
        tasks.push(supervisor.spawn_restarting("the metrics of the state", &tasks_stop, {
            let (store, shared, stop) = (Arc::clone(&store), shared.clone(), tasks_stop.clone());
            let metrics = StateMetrics { store, database, pool, shared };
            move || metrics.clone().keep(stop.clone())
        }));
        if let Some(identity) = &identity {
            let (identity, stop) = (Arc::clone(identity), tasks_stop.clone());
            tasks.push(supervisor.spawn_restarting(
                "the refresh of keys and revocations",
                &tasks_stop,
                move || {
                    let (identity, stop) = (Arc::clone(&identity), stop.clone());
                    async move { identity.follow(stop).await }
                },
            ));
        }
        Ok(Self {
            id,
            config,
            store,
            folder,
            sandbox,
            active,
            identity,
            shared,
            erasures,
            export,
            turns,
            worker,
            worker_stop,
            tasks,
            tasks_stop,
        })
    }

    /// Returns what the API works with. `started` is when the process started.
    pub(super) fn services(&self, lifecycle: Lifecycle, started: Instant) -> Services {
        let authenticator: Arc<dyn Authenticator> = match &self.identity {
            Some(identity) => Arc::clone(identity) as Arc<dyn Authenticator>,
            None => Arc::new(LocalAuthenticator),
        };
        Services {
            options: convert::api::options(&self.config),
            store: self.store.clone(),
            shared: Arc::clone(&self.shared.health),
            sandbox: Arc::new(Slots(Arc::clone(&self.sandbox))),
            active: Arc::clone(&self.active),
            turns: self.turns.clone(),
            authenticator,
            identity: self.identity.clone(),
            limits: UsageLimiter::new(
                convert::auth::limit_options(&self.config.limits),
                Arc::clone(&self.shared.rates),
            ),
            erasures: Arc::clone(&self.erasures),
            lifecycle,
            started,
        }
    }

    /// Refuses new turns and waits up to `timeout` for running ones. The rest are interrupted; after `cut`, at once.
    pub(super) async fn drain(&self, timeout: Duration, cut: CancellationToken) {
        self.worker_stop.cancel();
        self.turns.drain(std::time::Instant::now() + timeout, cut).await;
    }

    /// Stops the background tasks and closes the store. Call it when no request runs any more.
    pub(super) async fn close(self) {
        let Self { id, worker, tasks, tasks_stop, turns, store, folder, export, .. } = self;
        let mut worker = worker;
        if tokio::time::timeout(JOBS_TIMEOUT, &mut worker).await.is_err() {
            // The job's lease expires, and the job runs again after the next start.
            worker.abort();
        }
        tasks_stop.cancel();
        for task in tasks {
            // A panic in a task has been logged already.
            let _ = task.await;
        }
        turns.budgets().close().await;
        if let Some(export) = export {
            export.shutdown(TRACES_TIMEOUT).await;
        }
        // So that other hosts need not wait for the end of this one's leases.
        let gone = store.heartbeat(id, &[], Duration::ZERO);
        if !matches!(tokio::time::timeout(FAREWELL_TIMEOUT, gone).await, Ok(Ok(_))) {
            tracing::warn!("the store does not know that this host is gone; its leases end by themselves");
        }
        store.close().await;
        drop(folder);
    }
}

/// Creates the plugins folder, so that an operator finds where to put a plugin.
fn make_plugins_folder(folder: &Path) -> anyhow::Result<()> {
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("can't make the plugins folder {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Joins the errors found while loading plugins, one line each.
fn join_errors(problems: &[Diagnostic]) -> anyhow::Error {
    let mut text = String::from("the configuration can't be used:");
    for problem in problems {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {problem}");
    }
    anyhow!(text)
}
