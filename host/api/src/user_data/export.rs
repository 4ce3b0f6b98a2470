//! `GET /users/{id}/data`: the export of a user, written page by page, so that its size takes no memory.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::header;
use masque_auth::{Scope, store_problem};
use masque_problem::{Kind, Problem};
use masque_store::{ExportSection, Owner, StoreError};
use serde_json::json;

use super::subject::{self, UserRef};
use super::view::{FORMAT, UserDataView, UserView, member, write_item};
use crate::author::Author;
use crate::id::Id;
use crate::state::App;
use crate::view::timestamp;

/// Exports everything that is kept of a user as one JSON document.
///
/// One's own data needs the scope `chat`, that of others `content:read`. If the host can't read its data to the end, the
/// answer breaks off: a document that ends with `}` is complete.
#[utoipa::path(
    get, path = "/users/{id}/data", tag = "users",
    params(("id" = String, Path, description = "`me`, or the `user_id` that `/auth/validate` gives.")),
    responses(
        (status = 200, description = "The data.", body = UserDataView,
            headers(("Content-Disposition" = String, description = "Makes browsers save it as a file."))),
        (status = 403, description = "The scope is missing, or the API key is for some companions."),
        (status = 404, description = "No such user, or another one and the scope `content:read` is missing."),
    ),
)]
pub(crate) async fn export(
    State(app): State<App>,
    author: Author,
    Id(user): Id<UserRef>,
) -> Result<Response, Problem> {
    let subject = subject::find(&app, &author.principal, user, Scope::ContentRead).await?;
    let user_id = app.store.user_id(&subject.owner).await.map_err(store_problem)?;
    let entry = author.entry_on_user("user.export", subject.name.pseudonym(), subject.is_own, json!({}));
    // The audit entry comes first: an export without one is never handed out.
    app.store.record(entry).await.map_err(store_problem)?;
    let Owner { tenant, issuer, subject: name } = subject.owner.clone();
    let head = json!({
        "format": FORMAT,
        "exported_at": timestamp(now()),
        "user": UserView { user_id, tenant, issuer, subject: name },
    });
    let mut head = serde_json::to_vec(&head).map_err(|_| Kind::Internal)?;
    // The sections follow within the object.
    head.pop();
    let export =
        Export { app, owner: subject.owner, head: Some(head), section: 0, after: None, has_items: None };
    let body = Body::from_stream(stream::try_unfold(export, Export::next_piece));
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"user-data.json\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, body).into_response())
}

fn now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

/// An export that is being written.
struct Export {
    app: App,
    owner: Owner,
    /// The beginning of the document, until it is written.
    head: Option<Vec<u8>>,
    /// The number of the section.
    section: usize,
    /// Where the section goes on.
    after: Option<String>,
    /// Whether the section has an item so far; `None` before its beginning is written.
    has_items: Option<bool>,
}

impl Export {
    /// The next piece of the document: one page of the store. `None` after the last.
    async fn next_piece(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        let mut text = self.head.take().unwrap_or_default();
        let Some(section) = ExportSection::ALL.get(self.section).copied() else {
            if self.section > ExportSection::ALL.len() {
                return Ok(None);
            }
            self.section += 1;
            text.extend_from_slice(b"}\n");
            return Ok(Some((text.into(), self)));
        };
        let page = match self.app.store.export(&self.owner, section, self.after.as_deref()).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "an export broke off");
                return Err(error);
            }
        };
        if self.has_items.is_none() {
            text.extend_from_slice(format!(",\"{}\":[", member(section)).as_bytes());
        }
        let mut has_items = self.has_items.unwrap_or(false);
        for item in page.items {
            if has_items {
                text.push(b',');
            }
            has_items = true;
            write_item(&mut text, item).map_err(|error| StoreError::Internal(error.to_string()))?;
        }
        self.after = page.next;
        self.has_items = Some(has_items);
        if self.after.is_none() {
            text.push(b']');
            self.section += 1;
            self.has_items = None;
        }
        Ok(Some((text.into(), self)))
    }
}
