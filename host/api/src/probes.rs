//! Health of the host, for probes: `/livez`, `/readyz` and `/health`.
//!
//! The threat: anyone may probe, as often as they like, and an answer could tell a stranger about the machine. The policy: an
//! answer consists of states from a closed list ([`HealthCause`]). Nothing is read for it but memory and the last answer of the
//! store, which is asked once in a second at most. `?verbose` adds meanings and the version; admission lets only operators ask
//! for it.

use axum::Json;
use axum::extract::State;
use http::Uri;
use masque_problem::{Kind, Problem};
use masque_store::SharedStatus;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::access::is_verbose;
use super::health_cause::HealthCause;
use super::state::App;

/// What a probe is told. The reason names plugins, and is for operators only.
const OBSTACLE: &str =
    "This host can't use the active set that the others have; /status and the log say why. It tries again.";

const OK: &str = "ok";

/// A summary of the host's health.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or `degraded` if a check is in a state that is listed as a cause.
    #[schema(example = "ok")]
    status: &'static str,
    checks: Checks,
    /// With `?verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<HealthDetails>,
}

/// The state of each part: `ok` (`ready` for `phase`), or a state from a closed list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Checks {
    /// `ready`, `loading` or `draining`.
    #[schema(example = "ready")]
    phase: &'static str,
    /// `ok`, or `blocked` while the host can't use the active set of the other hosts.
    #[schema(example = "ok")]
    active_set: &'static str,
    /// `ok`, or `refused` while the files hold a configuration that is not in effect.
    #[schema(example = "ok")]
    configuration: &'static str,
    /// `ok`, or `unavailable` if nothing can be read or the last write failed, for example on a full disk. It is `ok` again
    /// once a write succeeds.
    #[schema(example = "ok")]
    store: &'static str,
    /// `ok`, or `busy` if no sandbox is free.
    #[schema(example = "ok")]
    sandbox: &'static str,
    /// `ok`, or `unavailable` while Redis can't be reached and the host counts limits alone. Absent without Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ok")]
    redis: Option<&'static str>,
}

/// What operators are told in addition.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthDetails {
    version: &'static str,
    uptime_s: u64,
    /// `check`, `state` and `meaning` of everything that is not as it should be.
    #[schema(value_type = Vec<Object>)]
    causes: Vec<Value>,
}

/// The answer of a probe that succeeded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alive {
    #[schema(example = "ok")]
    status: &'static str,
    /// With `?verbose`.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<HealthDetails>,
}

impl Alive {
    const YES: Self = Self { status: OK, details: None };
}

fn details(app: &App, causes: &[HealthCause]) -> HealthDetails {
    HealthDetails {
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: app.started.elapsed().as_secs(),
        causes: causes.iter().map(|cause| cause.to_value()).collect(),
    }
}

/// Summarises the host's health. Its cost does not depend on what is stored, nor on how often it is asked.
#[utoipa::path(
    get, path = "/health", tag = "host",
    params(("verbose" = Option<String>, Query, description = "Adds meanings and the version, for operators.")),
    responses((status = 200, description = "The summary.", body = Health)),
)]
pub(crate) async fn health(State(app): State<App>, uri: Uri) -> Json<Health> {
    let status = app.shared.status();
    let phase = HealthCause::of_phase(&app.lifecycle);
    let active_set = HealthCause::of_active_set(&app.active);
    let configuration = HealthCause::of_configuration(&app.active);
    let store = (!app.is_store_ok().await).then_some(HealthCause::StoreUnavailable);
    let sandbox = (app.sandbox.free() == 0).then_some(HealthCause::SandboxBusy);
    let redis = HealthCause::of_shared(&status);
    let state = |cause: Option<HealthCause>| cause.map_or(OK, HealthCause::state);
    let checks = Checks {
        phase: phase.map_or("ready", HealthCause::state),
        active_set: state(active_set),
        configuration: state(configuration),
        store: state(store),
        sandbox: state(sandbox),
        redis: (!matches!(status, SharedStatus::InProcess)).then(|| state(redis)),
    };
    let causes: Vec<HealthCause> =
        [phase, active_set, configuration, store, sandbox, redis].into_iter().flatten().collect();
    Json(Health {
        status: if causes.is_empty() { OK } else { "degraded" },
        checks,
        details: is_verbose(&uri).then(|| details(&app, &causes)),
    })
}

/// Liveness while the host loads: whether the process answers.
pub(crate) async fn livez_while_loading() -> Json<Alive> {
    Json(Alive::YES)
}

/// Liveness: whether the process answers. Depends on nothing else.
#[utoipa::path(
    get, path = "/livez", tag = "host",
    params(("verbose" = Option<String>, Query, description = "Adds the version, for operators.")),
    responses((status = 200, description = "Yes.", body = Alive)),
)]
pub(crate) async fn livez(State(app): State<App>, uri: Uri) -> Json<Alive> {
    Json(Alive { details: is_verbose(&uri).then(|| details(&app, &[])), ..Alive::YES })
}

/// Readiness: whether the host accepts new requests. It does not while it loads or drains, nor after a part that it can't
/// do without has ended, nor while it can't use the generation of the active set that the hosts of its database have.
///
/// An unavailable store does not count, because it would take all hosts out of service at once.
#[utoipa::path(
    get, path = "/readyz", tag = "host",
    params(("verbose" = Option<String>, Query, description = "Adds meanings and the version, for operators.")),
    responses((status = 200, description = "Yes.", body = Alive), (status = 503, description = "The host loads or drains.")),
)]
pub(crate) async fn readyz(State(app): State<App>, uri: Uri) -> Result<Json<Alive>, Problem> {
    let phase = HealthCause::of_phase(&app.lifecycle);
    let causes: Vec<HealthCause> =
        [phase, HealthCause::of_active_set(&app.active)].into_iter().flatten().collect();
    let problem: Problem = match causes.first() {
        Some(HealthCause::Draining) => Kind::Draining.into(),
        Some(HealthCause::ActiveSetBlocked) => Problem::new(Kind::Loading, OBSTACLE),
        Some(_) => Kind::Loading.into(),
        None => {
            let details = is_verbose(&uri).then(|| details(&app, &[]));
            return Ok(Json(Alive { details, ..Alive::YES }));
        }
    };
    if is_verbose(&uri) {
        let causes: Vec<Value> = causes.iter().map(|cause| cause.to_value()).collect();
        return Err(problem.with("causes", causes));
    }
    Err(problem)
}
