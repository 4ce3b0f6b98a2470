//! `GET /turns/{id}/explain`.

use axum::Json;
use axum::extract::State;
use http::{HeaderName, header};
use masque_auth::store_problem;
use masque_problem::{Kind, Problem};
use masque_store::TurnId;

use super::access;
use super::build::explanation;
use super::view::Explanation;
use crate::author::Author;
use crate::id::Id;
use crate::state::App;

/// Explains a turn: what was recalled and why, the parts of the prompt by source with their tokens, and the cost of each step.
///
/// One's own turn needs the scope `chat`, and is explained with one's own messages, memories and counts. Prompts, the values
/// that plugins exchanged with the host, and turns of others need `content:read`, and each access is in the audit log.
#[utoipa::path(
    get, path = "/turns/{id}/explain", tag = "turns",
    params(("id" = Uuid, Path, description = "The `turn_id` of the reply or of `turn.created`.")),
    responses(
        (status = 200, description = "The explanation.", body = Explanation,
            headers(("Cache-Control" = String, description = "`no-store`"))),
        (status = 404, description = "No such turn, or there is no record of it; the detail says why."),
        (status = 503, description = "The audit log can't be written, or the store can't be read."),
    ),
)]
pub(crate) async fn explain(
    State(app): State<App>,
    author: Author,
    Id(turn): Id<TurnId>,
) -> Result<([(HeaderName, &'static str); 1], Json<Explanation>), Problem> {
    let (record, access) = access::find(&app, &author, turn).await?;
    let explained = explanation(&*app.store, &record, access).await.map_err(store_problem)?;
    let explained = explained.ok_or(Kind::TurnNotFound)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(explained)))
}
