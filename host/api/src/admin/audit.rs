//! `/admin/audit`: the audit log.

use axum::Json;
use axum::extract::State;
use masque_store::{AuditOutcome, AuditRecord};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::query::{PageQuery, cursor};
use crate::state::App;
use crate::view::{Items, timestamp};
use masque_problem::Problem;

/// One recorded action.
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
    /// The address of the client.
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

/// Lists recorded actions of administration and authentication, newest first.
#[utoipa::path(
    get, path = "/admin/audit", tag = "admin",
    params(
        ("limit" = Option<u32>, Query, description = "1 to 200; 50 by default.", minimum = 1, maximum = 200),
        ("after" = Option<String>, Query, description = "The `next` of the previous page."),
    ),
    responses(
        (status = 200, description = "One page of the list.", body = Items<AuditView>),
        (status = 422, description = "A query parameter is unknown or not valid."),
    ),
)]
pub(crate) async fn list(
    State(app): State<App>,
    PageQuery(page): PageQuery,
) -> Result<Json<Items<AuditView>>, Problem> {
    let page = app.store.audit(page).await.map_err(cursor)?;
    Ok(Json(page.into()))
}
