//! `/conversations`: the caller's own. A conversation of another user is answered like an unknown one.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderValue, StatusCode, header};
use masque_http::JsonBody;
use masque_store::{ConversationId, NewConversation, Page};
use masque_telemetry::trace::TraceContext;
use masque_turns::GreetingRequest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::Id;
use super::query::{PageQuery, cursor};
use super::reach;
use super::state::{App, Caller};
use super::user::{self, UserBody};
use super::view::{Conversation, Items, MessageView};
use masque_auth::store_problem;
use masque_problem::{Kind, Problem};

/// The maximum number of characters in a title.
const TITLE: usize = 200;

/// A conversation to begin.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBody {
    /// The companion to talk to. Required where the host has more than one companion.
    #[schema(example = "elara")]
    companion: Option<String>,
    /// The number of the companion's greeting, from 0. By default the first.
    greeting: Option<usize>,
    user: Option<UserBody>,
}

/// A change of a conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatchBody {
    /// 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    title: String,
}

/// A new conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewConversationView {
    #[serde(flatten)]
    conversation: Conversation,
    /// The companion's greeting. Empty where it has none.
    messages: Vec<MessageView>,
}

/// Begins a conversation, with the companion's greeting as first message if it has one.
#[utoipa::path(
    post, path = "/conversations", tag = "conversations",
    request_body = NewBody,
    responses(
        (status = 201, description = "The conversation.", body = NewConversationView,
            headers(("Location" = String, description = "Its path."))),
        (status = 404, description = "No such companion."),
        (status = 422, description = "A field is unknown, missing or has a value that is not allowed."),
        (status = 429, description = "The user or the API key has asked too often, or has used the tokens of the day."),
    ),
)]
pub(crate) async fn create(
    State(app): State<App>,
    Caller(principal): Caller,
    trace: Option<Extension<TraceContext>>,
    body: Result<JsonBody<NewBody>, Problem>,
) -> Result<Response, Problem> {
    let owner = &principal.owner;
    let NewBody { companion, greeting, user } = body.map_err(user::place_hint)?.into_data();
    let profile = user::profile(user, principal.profile.clone())?;
    let companion = match companion {
        Some(name) => name,
        None => app.turns.only_companion(principal.allowed_companions())?,
    };
    if !principal.may_talk_to(&companion) {
        return Err(Kind::CompanionNotAllowed.into());
    }
    let id = ConversationId::new();
    let accounts = app.limits.budget_accounts(&principal);
    let request = GreetingRequest {
        owner: owner.clone(),
        profile,
        companion: companion.clone(),
        conversation: id,
        index: greeting,
        accounts,
        trace: trace.map_or_else(TraceContext::root, |Extension(trace)| trace),
    };
    let greeting = app.turns.greet(request).await?;
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

/// Lists the caller's conversations, newest first.
#[utoipa::path(
    get, path = "/conversations", tag = "conversations",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 by default.", minimum = 1, maximum = 200),
        ("after" = Option<String>, Query, description = "The `next` of the previous page."),
    ),
    responses(
        (status = 200, description = "One page of the list.", body = Items<Conversation>),
        (status = 422, description = "A query parameter is unknown or not valid."),
    ),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Caller(principal): Caller,
    PageQuery(page): PageQuery,
) -> Result<Json<Items<Conversation>>, Problem> {
    let page = reach::conversations(&app, &principal, page).await.map_err(cursor)?;
    Ok(Json(page.into()))
}

/// Returns one conversation.
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
    let record = reach::conversation(&app, &principal, id).await?;
    Ok(Json(record.into()))
}

/// Changes the title of a conversation.
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
    reach::check_conversation(&app, &principal, id).await?;
    let record = app.store.rename(&principal.owner, id, title.to_owned()).await.map_err(store_problem)?;
    Ok(Json(record.ok_or(Kind::ConversationNotFound)?.into()))
}

/// Deletes a conversation with its messages and turns. A turn that runs in it is cancelled, and its stream ends with the
/// problem `conversation-not-found`.
#[utoipa::path(
    delete, path = "/conversations/{id}", tag = "conversations",
    params(("id" = Uuid, Path, description = "Its id.")),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 404, description = "No such conversation."),
    ),
)]
pub(crate) async fn delete(
    State(app): State<App>,
    Caller(principal): Caller,
    Id(id): Id<ConversationId>,
) -> Result<StatusCode, Problem> {
    reach::check_conversation(&app, &principal, id).await?;
    if app.turns.delete_conversation(&principal.owner, id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Kind::ConversationNotFound.into())
    }
}

/// Lists the messages of a conversation, oldest first. A page ends at `limit` messages or at 1 MiB of text, so `next`, not
/// the number of messages, tells whether there are more.
#[utoipa::path(
    get, path = "/conversations/{id}/messages", tag = "conversations",
    params(
        ("id" = Uuid, Path, description = "Its id."),
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 by default.", minimum = 1, maximum = 200),
        ("after" = Option<String>, Query, description = "The `next` of the previous page."),
    ),
    responses(
        (status = 200, description = "One page of the messages.", body = Items<MessageView>),
        (status = 404, description = "No such conversation."),
        (status = 422, description = "A query parameter is unknown or not valid."),
    ),
)]
pub(crate) async fn messages(
    State(app): State<App>,
    Caller(principal): Caller,
    Id(id): Id<ConversationId>,
    PageQuery(page): PageQuery,
) -> Result<Json<Items<MessageView>>, Problem> {
    reach::check_conversation(&app, &principal, id).await?;
    let page = app.store.messages(&principal.owner, id, page).await.map_err(cursor)?;
    Ok(Json(page.ok_or(Kind::ConversationNotFound)?.into()))
}
