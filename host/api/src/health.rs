//! Status of the host, for operators. No answer contains data of a user.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::state::App;
use masque_companions::{ActiveSet, ActiveState, Publication, PublicationState, ReloadOutcome, ReloadReport};
use masque_store::JobCounts;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is loaded and what is running.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    version: &'static str,
    /// The digest of the active configuration without its secrets, as `sha256:…`.
    configuration: String,
    /// The generation of the active set.
    generation: u64,
    companions: Vec<String>,
    plugins: Vec<LoadedPluginView>,
    sandbox: InstanceSlots,
    turns: TurnCounts,
    /// `null` while the store is unavailable.
    jobs: Option<JobCountsView>,
    /// `null` while the store is unavailable.
    store: Option<StoreSizeView>,
    /// The result of the last reload. `null` if there was none.
    reload: Option<Reload>,
    /// A generation that the hosts of one database prepare together, or that they refused last. `null` if there is none.
    publication: Option<PublicationView>,
    /// What is recorded of turns: `full`, with texts; `digests`, without; `off`.
    #[schema(example = "digests")]
    records: &'static str,
    /// Why this host is not ready: it can't use the generation that the hosts of its database have. `null` if it can.
    obstacle: Option<String>,
}

/// A generation of the active set that was published and is not active.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Publication)]
pub(crate) struct PublicationView {
    generation: u64,
    state: PublicationStateView,
    /// One line each: why this host can't prepare it, or which hosts it waits for or was refused for, and why.
    problems: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PublicationState)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PublicationStateView {
    /// This host prepares it.
    Preparing,
    /// This host is prepared; others are not yet.
    Prepared,
    /// This host can't prepare it, and tries again.
    Failed,
    /// It was refused. The active generation stays.
    Refused,
}

impl From<Publication> for PublicationView {
    fn from(publication: Publication) -> Self {
        let Publication { generation, state, problems } = publication;
        let state = match state {
            PublicationState::Preparing => PublicationStateView::Preparing,
            PublicationState::Prepared => PublicationStateView::Prepared,
            PublicationState::Failed => PublicationStateView::Failed,
            PublicationState::Refused => PublicationStateView::Refused,
        };
        Self { generation, state, problems }
    }
}

/// A reload of the active set after a change of the configuration file, of a file that it names, or of the plugins folder.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Reload {
    /// When it was last tried (RFC 3339).
    #[schema(example = "2026-01-31T12:00:00.000Z")]
    at: String,
    outcome: Outcome,
    /// The generation that has been active since.
    generation: u64,
    /// One line each, as `masque check` prints them: the errors of a refused reload, the warnings of an applied one.
    problems: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The new generation is active.
    Applied,
    /// The previous generation stays active.
    Refused,
}

impl From<ReloadReport> for Reload {
    fn from(reload: ReloadReport) -> Self {
        Self {
            at: humantime::format_rfc3339_millis(reload.at).to_string(),
            outcome: match reload.outcome {
                ReloadOutcome::Applied => Outcome::Applied,
                ReloadOutcome::Refused => Outcome::Refused,
            },
            generation: reload.generation,
            problems: reload.problems,
        }
    }
}

/// One loaded plugin.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = LoadedPlugin)]
pub(crate) struct LoadedPluginView {
    /// Its name in the configuration.
    name: String,
    /// `persona`, `memory` or `model`.
    kind: String,
    /// The name in the component's description.
    component: String,
    version: String,
    /// The digest of the component, as `sha256:…`.
    digest: String,
    /// Writes to its state that were refused for its quota or a limit of the call, since this version was loaded with these
    /// settings.
    state_refusals: u64,
}

/// The slots for instances of plugins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstanceSlots {
    /// Slots that are free at this moment.
    free: usize,
    /// All slots.
    size: u32,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TurnCounts {
    running: usize,
}

/// Counts of background jobs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobCounts)]
pub(crate) struct JobCountsView {
    queued: u64,
    running: u64,
    /// Set aside after the last retry, until an operator retries them.
    parked: u64,
    /// Seconds since the turn of the oldest job that is neither done nor parked. Absent if there is no such job. It grows
    /// if jobs come faster than they are done, or if one fails again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_s: Option<u64>,
}

/// The space that the store takes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoreSize)]
pub(crate) struct StoreSizeView {
    /// The database, in bytes.
    database_bytes: u64,
    /// The write-ahead log, in bytes: what is stored but not yet in the database. It grows over 64 MiB only while something
    /// reads the database for long, such as a backup.
    log_bytes: u64,
}

/// Status: what is loaded, by digest, and what is running.
#[utoipa::path(get, path = "/status", tag = "host", responses((status = 200, description = "The status.", body = Status)))]
pub(crate) async fn status(State(app): State<App>) -> Json<Status> {
    let ActiveState { set, reload, publication, obstacle } = app.active.state();
    let jobs = match app.store.counts().await {
        Ok(JobCounts { queued, running, parked, oldest }) => {
            Some(JobCountsView { queued, running, parked, oldest_s: oldest.map(|oldest| oldest.as_secs()) })
        }
        Err(error) => {
            tracing::warn!(%error, "the store does not answer");
            None
        }
    };
    let store = match app.store.size().await {
        Ok(size) => Some(StoreSizeView { database_bytes: size.database, log_bytes: size.log }),
        Err(error) => {
            tracing::warn!(%error, "the store does not answer");
            None
        }
    };
    Json(Status {
        version: VERSION,
        configuration: set.configuration.clone(),
        generation: set.generation,
        companions: set.companions.keys().cloned().collect(),
        plugins: plugins(&set),
        sandbox: InstanceSlots { free: app.sandbox.free(), size: app.sandbox.size() },
        turns: TurnCounts { running: app.turns.running() },
        jobs,
        store,
        reload: reload.map(Reload::from),
        publication: publication.map(PublicationView::from),
        records: app.options.record_content,
        obstacle,
    })
}

fn plugins(set: &ActiveSet) -> Vec<LoadedPluginView> {
    set.plugins
        .values()
        .map(|plugin| {
            let package = plugin.package();
            let description = package.description();
            LoadedPluginView {
                name: plugin.name().to_owned(),
                kind: package.kind().to_string(),
                component: description.name.clone(),
                version: description.version.clone(),
                digest: package.digest().to_owned(),
                state_refusals: plugin.counters().state_refusals(),
            }
        })
        .collect()
}
