//! `DELETE /users/{id}/data`, and the receipts of erasures. The rows are removed by a task of the host.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use masque_auth::{Scope, store_problem};
use masque_problem::{Kind, Problem};
use masque_store::{Erasure, ErasureRequest};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::subject::{self, ReceiptPath, UserRef};
use crate::author::Author;
use crate::id::Id;
use crate::state::{App, Caller};
use crate::view::timestamp;

/// The receipt of an erasure.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Erasure)]
pub(crate) struct ErasureView {
    id: Uuid,
    /// The id that was erased.
    user_id: Uuid,
    /// How the audit log and `masque erasures` name the user.
    #[schema(example = "8f14e45fceea167a")]
    pseudonym: String,
    /// `running` or `done`.
    #[schema(example = "running")]
    state: &'static str,
    /// From then on, nothing of the user is found or written.
    #[schema(format = DateTime)]
    begun_at: String,
    /// When all rows were removed.
    #[schema(format = DateTime)]
    done_at: Option<String>,
    removed: RemovedView,
}

/// The rows that an erasure has removed so far.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErasedRows)]
struct RemovedView {
    conversations: u64,
    messages: u64,
    turns: u64,
    idempotency_keys: u64,
    jobs: u64,
    state_values: u64,
    spending_days: u64,
}

impl From<Erasure> for ErasureView {
    fn from(erasure: Erasure) -> Self {
        let rows = erasure.rows;
        Self {
            id: erasure.receipt,
            user_id: erasure.user,
            pseudonym: erasure.name.pseudonym().to_owned(),
            state: if erasure.done_at.is_some() { "done" } else { "running" },
            begun_at: timestamp(erasure.begun_at),
            done_at: erasure.done_at.map(timestamp),
            removed: RemovedView {
                conversations: rows.conversations,
                messages: rows.messages,
                turns: rows.turns,
                idempotency_keys: rows.idempotency_keys,
                jobs: rows.jobs,
                state_values: rows.state_values,
                spending_days: rows.spending_days,
            },
        }
    }
}

/// Erases everything that is kept of a user.
///
/// One's own data needs the scope `chat`, that of others `admin:write`. Nothing of the user is found any more when the answer
/// is sent, and running turns are cancelled; the rows are removed afterwards, and the receipt says when that is done. With
/// the next request, the same person is a new user.
#[utoipa::path(
    delete, path = "/users/{id}/data", tag = "users",
    params(("id" = String, Path, description = "`me`, or the `user_id` that `/auth/validate` gives.")),
    responses(
        (status = 202, description = "The erasure has begun. A user who was erased before has the receipt of then.",
            body = ErasureView, headers(("Location" = String, description = "The path of the receipt."))),
        (status = 403, description = "The scope is missing, or the API key is for some companions."),
        (status = 404, description = "No such user, or another one and the scope `admin:write` is missing."),
    ),
)]
pub(crate) async fn erase(
    State(app): State<App>,
    author: Author,
    Id(user): Id<UserRef>,
) -> Result<Response, Problem> {
    let caller = &author.principal;
    let subject = match subject::find(&app, caller, user, Scope::AdminWrite).await {
        Ok(subject) => subject,
        Err(problem) if problem.kind == Kind::UserNotFound && caller.scopes.has(Scope::AdminWrite) => {
            let UserRef::Id(id) = user else { return Err(problem) };
            let earlier = app.store.erasure_of_user(id).await.map_err(store_problem)?;
            return earlier.map(|erasure| accepted(user, erasure)).ok_or(problem);
        }
        Err(problem) => return Err(problem),
    };
    let receipt = Uuid::now_v7();
    let detail = json!({ "receipt": receipt });
    let entry = author.entry_on_user("user.erase", subject.name.pseudonym(), subject.is_own, detail);
    let request = ErasureRequest { receipt, owner: subject.owner.clone(), name: subject.name.clone(), entry };
    let erasure = app.store.begin_erasure(request).await.map_err(store_problem)?;
    app.turns.user_erased(&subject.owner);
    app.erasures.notify_one();
    Ok(accepted(user, erasure))
}

fn accepted(user: UserRef, erasure: Erasure) -> Response {
    let receipt = erasure.receipt;
    let path = match user {
        UserRef::Me => format!("/users/me/erasures/{receipt}"),
        UserRef::Id(id) => format!("/users/{id}/erasures/{receipt}"),
    };
    let mut response = (StatusCode::ACCEPTED, Json(ErasureView::from(erasure))).into_response();
    if let Ok(location) = HeaderValue::try_from(path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Returns the receipt of an erasure. The person who was erased can ask for it as `me`.
#[utoipa::path(
    get, path = "/users/{id}/erasures/{receipt}", tag = "users",
    params(
        ("id" = String, Path, description = "`me`, or the `user_id` that was erased."),
        ("receipt" = Uuid, Path, description = "The id of the receipt."),
    ),
    responses(
        (status = 200, description = "The receipt.", body = ErasureView),
        (status = 403, description = "The scope is missing, or the API key is for some companions."),
        (status = 404, description = "No such erasure of this user."),
    ),
)]
pub(crate) async fn receipt(
    State(app): State<App>,
    Caller(caller): Caller,
    path: ReceiptPath,
) -> Result<Json<ErasureView>, Problem> {
    subject::refuse_limited(&caller)?;
    let found = app.store.erasure(path.receipt).await.map_err(store_problem)?;
    let erasure = found.ok_or(Kind::ErasureNotFound)?;
    // The person has another surrogate id by now, or none.
    let own_name = app.store.installation().await.map_err(store_problem)?.erased_name(&caller.owner);
    let is_own = caller.scopes.has(Scope::Chat) && erasure.name == own_name;
    let is_reachable = match path.user {
        UserRef::Me => is_own,
        UserRef::Id(id) => erasure.user == id && (is_own || caller.scopes.has(Scope::AdminWrite)),
    };
    if is_reachable { Ok(Json(erasure.into())) } else { Err(Kind::ErasureNotFound.into()) }
}
