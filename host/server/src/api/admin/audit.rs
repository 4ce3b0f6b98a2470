//! `/admin/audit`: who did what.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use http::request::Parts;
use masque_http::{ClientAddress, RequestId};
use masque_store::{AuditEntry, AuditOutcome, AuditRecord};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::query::{PageQuery, cursor};
use crate::api::view::{Items, timestamp};
use crate::api::{App, Caller};
use crate::auth::Principal;
use crate::problem::{Kind, Problem};

/// One thing that was done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditView {
    id: Uuid,
    #[schema(format = DateTime)]
    at: String,
    tenant: String,
    /// `key:ID`, `user:ISSUER|SUBJECT`, `machine` for the socket, or `cli`.
    #[schema(example = "key:8f14e45fceea167a")]
    actor: String,
    #[schema(example = "key.create")]
    action: String,
    #[schema(example = "key:c9f0f895fb98ab91")]
    target: Option<String>,
    /// `ok` or `refused`.
    #[schema(example = "ok")]
    outcome: &'static str,
    request_id: Option<String>,
    /// The client's.
    address: Option<String>,
    #[schema(value_type = Object)]
    detail: Value,
}

impl From<AuditRecord> for AuditView {
    fn from(record: AuditRecord) -> Self {
        let AuditRecord { id, at, entry } = record;
        Self {
            id,
            at: timestamp(at),
            tenant: entry.tenant,
            actor: entry.actor,
            action: entry.action,
            target: entry.target,
            outcome: match entry.outcome {
                AuditOutcome::Ok => "ok",
                AuditOutcome::Refused => "refused",
            },
            request_id: entry.request_id,
            address: entry.address,
            detail: entry.detail,
        }
    }
}

/// What was done in administration and authentication, the newest first.
#[utoipa::path(
    get, path = "/admin/audit", tag = "admin",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 by default.", minimum = 1, maximum = 200),
        ("after" = Option<String>, Query, description = "The `next` of the part before."),
    ),
    responses(
        (status = 200, description = "A part of the list.", body = Items<AuditView>),
        (status = 422, description = "The query is not understood."),
    ),
)]
pub(crate) async fn list(
    State(app): State<App>,
    PageQuery(page): PageQuery,
) -> Result<Json<Items<AuditView>>, Problem> {
    let page = app.store.audit(page).await.map_err(cursor)?;
    Ok(Json(page.into()))
}

/// Whoever does something that is recorded: who, with which request, from where.
pub(crate) struct Author {
    pub(crate) principal: Principal,
    request: RequestId,
    address: Option<ClientAddress>,
}

impl<S: Sync> FromRequestParts<S> for Author {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Caller(principal) = Caller::from_request_parts(parts, state).await?;
        // Both are put there around every route; the socket has no address.
        let request = parts.extensions.get::<RequestId>().cloned().ok_or(Kind::Internal)?;
        Ok(Self { principal, request, address: parts.extensions.get::<ClientAddress>().copied() })
    }
}

impl Author {
    /// What is put on the record of something done.
    pub(crate) fn entry(&self, action: &str, target: String, detail: Value) -> AuditEntry {
        AuditEntry {
            tenant: self.principal.owner.tenant.clone(),
            actor: self.principal.to_string(),
            action: action.to_owned(),
            target: Some(target),
            outcome: AuditOutcome::Ok,
            request_id: Some(self.request.as_str().to_owned()),
            address: self.address.map(|ClientAddress(address)| address.to_string()),
            detail,
        }
    }
}
