//! `/conversations`: the caller's own. Another user's is answered as an unknown one.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use masque_http::JsonBody;
use masque_store::{ConversationId, NewConversation, Page};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::Id;
use super::query::{PageQuery, cursor};
use super::view::{Conversation, Items, Message};
use super::{App, Caller};
use crate::auth::store_problem;
use crate::problem::{Kind, Problem};

/// Characters of a title.
const TITLE: usize = 200;

/// A conversation to begin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBody {
    /// Whom to talk to.
    #[schema(example = "elara")]
    companion: String,
    /// Which of the companion's greetings, from 0; by default the first.
    greeting: Option<usize>,
}

/// What to change about a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchBody {
    /// 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    title: String,
}

/// A conversation that has just begun.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewConversationView {
    #[serde(flatten)]
    conversation: Conversation,
    /// The companion's greeting, or nothing where it has none.
    messages: Vec<Message>,
}

/// Begins a conversation, with the companion's first message where it has one.
#[utoipa::path(
    post, path = "/conversations", tag = "conversations",
    request_body = NewBody,
    responses(
        (status = 201, description = "The conversation.", body = NewConversationView,
            headers(("Location" = String, description = "Its path."))),
        (status = 404, description = "No such companion."),
        (status = 422, description = "A field is unknown, missing or has a value that is not allowed."),
    ),
)]
pub(crate) async fn create(
    State(app): State<App>,
    Caller(principal): Caller,
    body: JsonBody<NewBody>,
) -> Result<Response, Problem> {
    let owner = &principal.owner;
    let NewBody { companion, greeting } = body.into_data();
    if !principal.may_meet(&companion) {
        return Err(Kind::CompanionNotAllowed.into());
    }
    let id = ConversationId::new();
    let greeting = app.turns.greet(owner, &companion, id, greeting).await?;
    let greeted = greeting.is_some();
    let record = app
        .store
        .create(owner, NewConversation { id, companion, title: None, greeting })
        .await
        .map_err(store_problem)?;
    let messages = if greeted {
        let first =
            app.store.messages(owner, id, Page { limit: 1, after: None }).await.map_err(store_problem)?;
        first.map(|page| Items::from(page).items).unwrap_or_default()
    } else {
        Vec::new()
    };
    let view = NewConversationView { conversation: record.into(), messages };
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/conversations/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// The caller's conversations, the newest first.
#[utoipa::path(
    get, path = "/conversations", tag = "conversations",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 by default.", minimum = 1, maximum = 200),
        ("after" = Option<String>, Query, description = "The `next` of the part before."),
    ),
    responses(
        (status = 200, description = "A part of the list.", body = Items<Conversation>),
        (status = 422, description = "The query is not understood."),
    ),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Caller(principal): Caller,
    PageQuery(page): PageQuery,
) -> Result<Json<Items<Conversation>>, Problem> {
    let page = app.store.conversations(&principal.owner, page).await.map_err(cursor)?;
    Ok(Json(page.into()))
}

/// One conversation.
#[utoipa::path(
    get, path = "/conversations/{id}", tag = "conversations",
    params(("id" = Uuid, Path, description = "Its id.")),
    responses(
        (status = 200, description = "The conversation.", body = Conversation),
        (status = 404, description = "No such conversation."),
    ),
)]
pub(crate) async fn show(
    State(app): State<App>,
    Caller(principal): Caller,
    Id(id): Id<ConversationId>,
) -> Result<Json<Conversation>, Problem> {
    let record = app.store.conversation(&principal.owner, id).await.map_err(store_problem)?;
    Ok(Json(record.ok_or(Kind::ConversationNotFound)?.into()))
}

/// Gives a conversation another title.
#[utoipa::path(
    patch, path = "/conversations/{id}", tag = "conversations",
    params(("id" = Uuid, Path, description = "Its id.")),
    request_body = PatchBody,
    responses(
        (status = 200, description = "The conversation.", body = Conversation),
        (status = 404, description = "No such conversation."),
        (status = 422, description = "The title is empty or too long."),
    ),
)]
pub(crate) async fn rename(
    State(app): State<App>,
    Caller(principal): Caller,
    Id(id): Id<ConversationId>,
    body: JsonBody<PatchBody>,
) -> Result<Json<Conversation>, Problem> {
    let PatchBody { title } = body.into_data();
    let title = title.trim();
    if !(1..=TITLE).contains(&title.chars().count()) {
        let detail = format!("`title` has 1 to {TITLE} characters.");
        return Err(Problem::new(Kind::InvalidRequest, detail).with("field", "title"));
    }
    let record = app.store.rename(&principal.owner, id, title.to_owned()).await.map_err(store_problem)?;
    Ok(Json(record.ok_or(Kind::ConversationNotFound)?.into()))
}

/// Deletes a conversation, with its messages and turns.
#[utoipa::path(
    delete, path = "/conversations/{id}", tag = "conversations",
    params(("id" = Uuid, Path, description = "Its id.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "No such conversation."),
    ),
)]
pub(crate) async fn delete(
    State(app): State<App>,
    Caller(principal): Caller,
    Id(id): Id<ConversationId>,
) -> Result<StatusCode, Problem> {
    if app.store.delete(&principal.owner, id).await.map_err(store_problem)? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Kind::ConversationNotFound.into())
    }
}

/// The messages of a conversation, oldest first.
#[utoipa::path(
    get, path = "/conversations/{id}/messages", tag = "conversations",
    params(
        ("id" = Uuid, Path, description = "Its id."),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 by default.", minimum = 1, maximum = 200),
        ("after" = Option<String>, Query, description = "The `next` of the part before."),
    ),
    responses(
        (status = 200, description = "A part of the messages.", body = Items<Message>),
        (status = 404, description = "No such conversation."),
        (status = 422, description = "The query is not understood."),
    ),
)]
pub(crate) async fn messages(
    State(app): State<App>,
    Caller(principal): Caller,
    Id(id): Id<ConversationId>,
    PageQuery(page): PageQuery,
) -> Result<Json<Items<Message>>, Problem> {
    let page = app.store.messages(&principal.owner, id, page).await.map_err(cursor)?;
    Ok(Json(page.ok_or(Kind::ConversationNotFound)?.into()))
}
