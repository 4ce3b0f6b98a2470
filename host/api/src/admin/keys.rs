//! `/admin/keys`: creates, lists, rotates and revokes API keys.

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use masque_http::JsonBody;
use masque_store::{ApiKeyRecord, KeyId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::effect::apply_changes;
use crate::author::Author;
use crate::id::{Id, Named};
use crate::query::{PageQuery, cursor};
use crate::schema::ScopeName;
use crate::state::App;
use crate::view::{Items, timestamp};
use masque_auth::{KeyRequestError, KeyText, NewKeyRequest, audit_detail, rotation_overlap, store_problem};
use masque_problem::{Kind, Problem};

impl Named for KeyId {
    const UNKNOWN: Kind = Kind::KeyNotFound;
}

/// A new key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyBody {
    /// The purpose of the key, for people. 1 to 100 characters.
    #[schema(example = "web shop", min_length = 1, max_length = 100)]
    name: String,
    /// `chat`, `admin:read`, `admin:write`, `content:read`, `metrics:read`, `tokens:mint`, `users:act`.
    #[schema(value_type = Vec<ScopeName>, min_items = 1, example = json!(["chat"]))]
    scopes: Vec<String>,
    /// By default `default`. Keys of other tenants can't have `admin:…`.
    #[schema(example = "default", pattern = "^[a-z0-9-]{1,64}$")]
    tenant: Option<String>,
    /// The companions that the key may talk to. All by default.
    #[schema(min_items = 1, max_items = 100)]
    companions: Option<Vec<String>>,
    /// Unlimited by default.
    #[schema(minimum = 1)]
    requests_per_minute: Option<u32>,
    /// Model tokens, input and output together, per day (UTC). Unlimited by default.
    #[schema(minimum = 1)]
    tokens_per_day: Option<u64>,
    /// By default the key does not expire.
    #[schema(minimum = 1, maximum = 36500, example = 90)]
    expires_in_days: Option<u32>,
}

/// How to rotate a key.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateBody {
    /// How long the previous secret stays valid: at most 720, by default 24. With 0 it ends at once.
    #[schema(maximum = 720, example = 24)]
    overlap_hours: Option<u32>,
}

/// A key without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    #[schema(example = "8f14e45fceea167a")]
    id: String,
    name: String,
    tenant: String,
    scopes: Vec<String>,
    companions: Option<Vec<String>>,
    requests_per_minute: Option<u32>,
    tokens_per_day: Option<u64>,
    #[schema(format = DateTime)]
    created_at: String,
    created_by: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// When the secret before the last rotation stops being valid.
    #[schema(format = DateTime)]
    overlap_until: Option<String>,
}

/// A key with its secret. The secret is shown only once.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewKeyView {
    /// Send it as `Authorization: Bearer`.
    #[schema(example = "msq_8f14e45fceea167a_…")]
    secret: String,
    #[serde(flatten)]
    key: KeyView,
}

impl From<ApiKeyRecord> for KeyView {
    fn from(record: ApiKeyRecord) -> Self {
        Self {
            id: record.id.to_string(),
            name: record.name,
            tenant: record.tenant,
            scopes: record.scopes,
            companions: record.companions,
            requests_per_minute: record.requests_per_minute,
            tokens_per_day: record.tokens_per_day,
            created_at: timestamp(record.created_at),
            created_by: record.created_by,
            expires_at: record.expires_at.map(timestamp),
            revoked_at: record.revoked_at.map(timestamp),
            overlap_until: record.previous.map(|(_, until)| timestamp(until)),
        }
    }
}

/// Lists all keys, newest first, revoked ones included.
#[utoipa::path(
    get, path = "/admin/keys", tag = "admin",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 by default.", minimum = 1, maximum = 200),
        ("after" = Option<String>, Query, description = "The `next` of the previous page."),
    ),
    responses(
        (status = 200, description = "One page of the list.", body = Items<KeyView>),
        (status = 422, description = "A query parameter is unknown or not valid."),
    ),
)]
pub(crate) async fn list(
    State(app): State<App>,
    PageQuery(page): PageQuery,
) -> Result<Json<Items<KeyView>>, Problem> {
    Ok(Json(app.store.keys(page).await.map_err(cursor)?.into()))
}

/// Returns one key.
#[utoipa::path(
    get, path = "/admin/keys/{id}", tag = "admin",
    params(("id" = String, Path, description = "Its id: the 16 digits after `msq_`.")),
    responses(
        (status = 200, description = "The key.", body = KeyView),
        (status = 404, description = "No such key."),
    ),
)]
pub(crate) async fn show(State(app): State<App>, Id(id): Id<KeyId>) -> Result<Json<KeyView>, Problem> {
    let record = app.store.key(&id).await.map_err(store_problem)?.ok_or(Kind::KeyNotFound)?;
    Ok(Json(record.into()))
}

/// Creates a key. Only this answer contains its secret.
#[utoipa::path(
    post, path = "/admin/keys", tag = "admin",
    request_body = KeyBody,
    responses(
        (status = 201, description = "The key and its secret.", body = NewKeyView,
            headers(("Location" = String, description = "Its path."))),
        (status = 422, description = "A field is unknown, missing or has a value that is not allowed."),
    ),
)]
pub(crate) async fn create(
    State(app): State<App>,
    author: Author,
    body: JsonBody<KeyBody>,
) -> Result<Response, Problem> {
    let body = body.into_data();
    let request = NewKeyRequest {
        name: body.name,
        scopes: body.scopes,
        tenant: body.tenant,
        companions: body.companions,
        requests_per_minute: body.requests_per_minute,
        tokens_per_day: body.tokens_per_day,
        expires_in_days: body.expires_in_days,
    };
    let (text, new) = request.issue(author.principal.to_string(), SystemTime::now()).map_err(refused)?;
    let entry = author.entry("key.create", format!("key:{}", new.id), audit_detail(&new));
    let record = app.store.create_key(new, entry).await.map_err(store_problem)?;
    apply_changes(&app).await;
    let location = HeaderValue::try_from(format!("/admin/keys/{}", record.id));
    let view = NewKeyView { secret: text.reveal().to_owned(), key: record.into() };
    let mut response = (StatusCode::CREATED, Json(view)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Gives a key a new secret. The previous one stays valid for a while.
#[utoipa::path(
    post, path = "/admin/keys/{id}/rotate", tag = "admin",
    params(("id" = String, Path, description = "Its id.")),
    request_body = Option<RotateBody>,
    responses(
        (status = 200, description = "The key and its new secret.", body = NewKeyView),
        (status = 404, description = "No such key, or it is revoked."),
        (status = 422, description = "A field is unknown or has a value that is not allowed."),
    ),
)]
pub(crate) async fn rotate(
    State(app): State<App>,
    author: Author,
    Id(id): Id<KeyId>,
    body: Option<JsonBody<RotateBody>>,
) -> Result<Json<NewKeyView>, Problem> {
    let RotateBody { overlap_hours } = body.map(JsonBody::into_data).unwrap_or_default();
    let overlap = rotation_overlap(overlap_hours).map_err(refused)?;
    let text = KeyText::generate_for(id.clone()).map_err(|_| Problem::from(Kind::Internal))?;
    let entry =
        author.entry("key.rotate", format!("key:{id}"), json!({ "overlap_seconds": overlap.as_secs() }));
    let record = app
        .store
        .rotate_key(&id, text.hash(), overlap, entry)
        .await
        .map_err(store_problem)?
        .ok_or(Kind::KeyNotFound)?;
    apply_changes(&app).await;
    Ok(Json(NewKeyView { secret: text.reveal().to_owned(), key: record.into() }))
}

/// Revokes a key and every token that was minted with it.
#[utoipa::path(
    delete, path = "/admin/keys/{id}", tag = "admin",
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = 200, description = "The revoked key.", body = KeyView),
        (status = 404, description = "No such key."),
    ),
)]
pub(crate) async fn revoke(
    State(app): State<App>,
    author: Author,
    Id(id): Id<KeyId>,
) -> Result<Json<KeyView>, Problem> {
    let entry = author.entry("key.revoke", format!("key:{id}"), json!({}));
    let record = app.store.revoke_key(&id, entry).await.map_err(store_problem)?.ok_or(Kind::KeyNotFound)?;
    apply_changes(&app).await;
    Ok(Json(record.into()))
}

fn refused(error: KeyRequestError) -> Problem {
    match error {
        KeyRequestError::InvalidField { field, detail } => {
            Problem::new(Kind::InvalidRequest, detail).with("field", field)
        }
        KeyRequestError::NoRandomness(source) => {
            tracing::error!(error = %source, "the machine has no random numbers");
            Kind::Internal.into()
        }
    }
}
