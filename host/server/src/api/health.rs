//! How the host is, for people, probes and dashboards. None of these needs a principal, and none says anything about a
//! user.

use axum::Json;
use axum::extract::State;
use masque_http::Phase;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use crate::active::{self, ActiveSet, Now};
use crate::problem::{Kind, Problem};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A summary.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or `degraded` where one of the checks is not.
    #[schema(example = "ok")]
    status: &'static str,
    version: &'static str,
    uptime_s: u64,
    checks: Checks,
}

/// What the host stands on, each `ok` or what is wrong with it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Checks {
    /// `ok` or `unavailable`.
    #[schema(example = "ok")]
    store: &'static str,
    /// `ok`, or `busy` where no sandbox is free.
    #[schema(example = "ok")]
    sandbox: &'static str,
}

/// The host is there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alive {
    #[schema(example = "ok")]
    status: &'static str,
}

/// What is loaded and what is under way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    version: &'static str,
    /// Of the configuration in effect, secrets left out, as `sha256:…`.
    configuration: String,
    /// Of the active set.
    generation: u64,
    companions: Vec<String>,
    plugins: Vec<LoadedPlugin>,
    sandbox: Places,
    turns: TurnCounts,
    /// `null` while the store can't be asked.
    jobs: Option<JobCounts>,
    /// How the last change of the configuration or of a plugin's file went; `null` while there has been none.
    reload: Option<Reload>,
}

/// A change of what the active set is made of: the configuration file, a file that it names, or the plugins folder.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Reload {
    /// When it was last tried, as RFC 3339.
    #[schema(example = "2026-01-31T12:00:00.000Z")]
    at: String,
    outcome: Outcome,
    /// The generation that is in effect since.
    generation: u64,
    /// A line each, as `masque check` prints them: why it was refused, or warnings where it was applied.
    problems: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// What the files say is in effect.
    Applied,
    /// It is not: `generation` is still what was loaded before.
    Refused,
}

impl From<active::Reload> for Reload {
    fn from(reload: active::Reload) -> Self {
        Self {
            at: humantime::format_rfc3339_millis(reload.at).to_string(),
            outcome: match reload.outcome {
                active::Outcome::Applied => Outcome::Applied,
                active::Outcome::Refused => Outcome::Refused,
            },
            generation: reload.generation,
            problems: reload.problems,
        }
    }
}

/// One loaded plugin.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LoadedPlugin {
    /// Its name in the configuration.
    name: String,
    /// `persona`, `memory` or `model`.
    kind: String,
    /// What the component calls itself.
    component: String,
    version: String,
    /// Of the component, as `sha256:…`.
    digest: String,
}

/// Places for instances of plugins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Places {
    /// Taken by nobody at this moment.
    free: usize,
    /// All of them.
    size: u32,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TurnCounts {
    running: usize,
}

/// Background work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobCounts {
    queued: u64,
    running: u64,
    /// Given up after too many tries.
    parked: u64,
}

/// A summary of the host's health.
#[utoipa::path(get, path = "/health", tag = "host", responses((status = 200, description = "The summary.", body = Health)))]
pub(crate) async fn health(State(app): State<App>) -> Json<Health> {
    let store = match app.store.counts().await {
        Ok(_) => "ok",
        Err(error) => {
            tracing::warn!(%error, "the store does not answer");
            "unavailable"
        }
    };
    let sandbox = if app.sandbox.free_instances() > 0 { "ok" } else { "busy" };
    let status = if store == "ok" && sandbox == "ok" { "ok" } else { "degraded" };
    let uptime_s = app.started.elapsed().as_secs();
    Json(Health { status, version: VERSION, uptime_s, checks: Checks { store, sandbox } })
}

/// Whether the process answers. Depends on nothing else.
#[utoipa::path(get, path = "/livez", tag = "host", responses((status = 200, description = "It does.", body = Alive)))]
pub(crate) async fn livez() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Whether the host wants new requests: not while it loads or drains.
///
/// A store that is away does not count: it would take all hosts out at once.
#[utoipa::path(
    get, path = "/readyz", tag = "host",
    responses((status = 200, description = "It does.", body = Alive), (status = 503, description = "The host loads or drains.")),
)]
pub(crate) async fn readyz(State(app): State<App>) -> Result<Json<Alive>, Problem> {
    match app.lifecycle.now() {
        Phase::Loading => Err(Kind::Loading.into()),
        Phase::Draining => Err(Kind::Draining.into()),
        Phase::Ready => Ok(Json(Alive { status: "ok" })),
    }
}

/// What is loaded, by digest, and what is under way.
#[utoipa::path(get, path = "/status", tag = "host", responses((status = 200, description = "What there is.", body = Status)))]
pub(crate) async fn status(State(app): State<App>) -> Json<Status> {
    let Now { set, reload } = app.active.now();
    let jobs = match app.store.counts().await {
        Ok(counts) => {
            Some(JobCounts { queued: counts.queued, running: counts.running, parked: counts.parked })
        }
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
        sandbox: Places { free: app.sandbox.free_instances(), size: app.sandbox.instances() },
        turns: TurnCounts { running: app.turns.running() },
        jobs,
        reload: reload.map(Reload::from),
    })
}

fn plugins(set: &ActiveSet) -> Vec<LoadedPlugin> {
    set.plugins
        .values()
        .map(|plugin| {
            let package = plugin.package();
            let description = package.description();
            LoadedPlugin {
                name: plugin.name().to_owned(),
                kind: package.kind().to_string(),
                component: description.name.clone(),
                version: description.version.clone(),
                digest: package.digest().to_owned(),
            }
        })
        .collect()
}
