//! `/admin/log`: the level of the log while the host runs.

use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use masque_auth::store_problem;
use masque_http::JsonBody;
use masque_problem::{Kind, Problem};
use masque_telemetry::level::{self, LevelState};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::author::Author;
use crate::state::App;
use crate::view::timestamp;

/// The longest directives.
const MAX_LEVEL_BYTES: usize = 1000;

/// Another level for a while.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogBody {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`, or directives such as `info,masque_http=debug`.
    #[schema(example = "debug", min_length = 1, max_length = 1000)]
    level: String,
    /// After this time, the configured level is in effect again.
    #[schema(minimum = 1, maximum = 86400, example = 600)]
    for_seconds: u64,
}

/// What the log lets through.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogView {
    /// The level in effect.
    #[schema(example = "debug")]
    level: String,
    /// The level of the configuration.
    #[schema(example = "info")]
    configured: String,
    /// When the level of the configuration is in effect again.
    #[schema(format = DateTime)]
    until: Option<String>,
}

impl From<LevelState> for LogView {
    fn from(state: LevelState) -> Self {
        let LevelState { level, configured, until } = state;
        let until = until.and_then(|until| until.duration_since(UNIX_EPOCH).ok());
        let milliseconds = until.map(|since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        Self { level, configured, until: milliseconds.map(timestamp) }
    }
}

/// Returns the level of the log.
#[utoipa::path(
    get, path = "/admin/log", tag = "admin",
    responses((status = 200, description = "The level in effect, and the configured one.", body = LogView)),
)]
pub(crate) async fn show() -> Result<Json<LogView>, Problem> {
    current()
}

/// Changes the level of this host's log for a while. Then the configured level is in effect again, and at once if the host
/// starts again. No level logs the text of a message.
#[utoipa::path(
    post, path = "/admin/log", tag = "admin",
    request_body = LogBody,
    responses(
        (status = 200, description = "The level is in effect.", body = LogView),
        (status = 422, description = "A field is unknown, missing or has a value that is not allowed."),
    ),
)]
pub(crate) async fn change(
    State(app): State<App>,
    author: Author,
    body: JsonBody<LogBody>,
) -> Result<Json<LogView>, Problem> {
    let LogBody { level, for_seconds } = body.into_data();
    if level.len() > MAX_LEVEL_BYTES {
        return Err(invalid("level", "`level` is at most 1000 bytes."));
    }
    level::check(&level).map_err(|error| invalid("level", &format!("{error}.")))?;
    let duration = Duration::from_secs(for_seconds);
    if duration.is_zero() || duration > level::MAX_DURATION {
        return Err(invalid("for_seconds", "`for_seconds` is 1 to 86400: a day at most."));
    }
    // The entry first: where it can't be written, nothing is changed.
    let detail = json!({ "level": level, "for_seconds": for_seconds });
    app.store.record(author.entry("log.level", "log".to_owned(), detail)).await.map_err(store_problem)?;
    level::set_for(&level, duration).map_err(|error| invalid("level", &format!("{error}.")))?;
    current()
}

fn current() -> Result<Json<LogView>, Problem> {
    level::state().map(|state| Json(state.into())).ok_or_else(|| {
        tracing::error!("this process has no log of which the level could be known");
        Kind::Internal.into()
    })
}

fn invalid(field: &str, detail: &str) -> Problem {
    Problem::new(Kind::InvalidRequest, detail).with("field", field)
}
