//! The author of a recorded action.

use axum::extract::FromRequestParts;
use http::request::Parts;
use masque_http::{ClientAddress, RequestId};
use masque_store::{AuditEntry, AuditOutcome};
use serde_json::Value;

use super::state::Caller;
use masque_auth::{Actor, Principal};
use masque_problem::{Kind, Problem};

/// Who performs an action that goes into the audit log: the principal, the request and the client's address.
pub(crate) struct Author {
    pub(crate) principal: Principal,
    request: RequestId,
    address: Option<ClientAddress>,
}

impl<S: Sync> FromRequestParts<S> for Author {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Caller(principal) = Caller::from_request_parts(parts, state).await?;
        // The outer layers set both for every route. A request over the Unix socket has no address.
        let request = parts.extensions.get::<RequestId>().cloned().ok_or(Kind::Internal)?;
        Ok(Self { principal, request, address: parts.extensions.get::<ClientAddress>().copied() })
    }
}

impl Author {
    /// Returns the audit entry of an action on the data of a user. The log names neither the user nor, where users act for
    /// themselves, their address: it outlives what they erase.
    pub(crate) fn entry_on_user(
        &self,
        action: &str,
        pseudonym: &str,
        is_own: bool,
        detail: Value,
    ) -> AuditEntry {
        let target = format!("user:{pseudonym}");
        let entry = self.entry(action, target.clone(), detail);
        let is_user = is_own && self.principal.actor == Actor::Token;
        AuditEntry {
            actor: if is_user { target } else { entry.actor },
            address: entry.address.filter(|_| !is_own),
            ..entry
        }
    }

    /// Returns the audit entry of a successful action.
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
