//! Whether a request is let in: where it comes from, who makes it, what they may do, how often. In this order, and
//! before a byte of its body is read.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, header};
use masque_http::ClientAddress;
use masque_telemetry::AUDIT;
use serde_json::Value;

use super::App;
use super::access::{self, Rule};
use crate::auth::{Actor, Principal, Scope};
use crate::limits::{Limited, headers};
use crate::problem::{Kind, Problem};

/// The layer around every route, the ones that are none included.
pub(super) async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut limits = Vec::new();
    let admitted = judge(&app, &parts, &mut limits).await;
    let mut response = match admitted {
        Ok(principal) => {
            if let Some(principal) = principal {
                parts.extensions.insert(principal);
            }
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => refusal(&parts, problem),
    };
    headers::write(response.headers_mut(), &limits);
    response
}

/// The principal of a route that needs one, or the answer to a request that is not let in. What the limits said is in
/// `limits` either way.
async fn judge(app: &App, parts: &Parts, limits: &mut Vec<Limited>) -> Result<Option<Principal>, Problem> {
    let path = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let rule = path.map(|path| access::rule(&parts.method, path));
    if rule == Some(Some(Rule::Probe)) {
        return Ok(None);
    }
    if let Some(ClientAddress(address)) = parts.extensions.get() {
        meet(app.limits.address(*address).await, limits)?;
    }
    let (scope, proven) = match rule {
        // The fallback answers.
        None => return Ok(None),
        Some(None) => return Err(Kind::MethodNotAllowed.into()),
        Some(Some(Rule::Probe | Rule::Open)) => return Ok(None),
        Some(Some(Rule::Needs(scope))) => (scope, false),
        Some(Some(Rule::Admin(scope))) => (scope, true),
    };
    let principal = match app.authenticator.authenticate(parts).await {
        Ok(principal) => principal,
        Err(problem) => return Err(refused(parts, None, problem)),
    };
    if proven && principal.actor == Actor::Anyone {
        return Err(Kind::AdminElsewhere.into());
    }
    if !principal.scopes.has(scope) {
        return Err(refused(parts, Some(&principal), lacks(scope)));
    }
    // Whoever owns the machine is not to be locked out of it.
    if principal.actor != Actor::Machine {
        // The user's first: what is refused there takes nothing from a key that many users share.
        meet(app.limits.user(&principal.owner).await, limits)?;
        meet(app.limits.key(&principal).await, limits)?;
    }
    Ok(Some(principal))
}

fn meet(limited: Option<Limited>, limits: &mut Vec<Limited>) -> Result<(), Problem> {
    let Some(limited) = limited else { return Ok(()) };
    limits.push(limited);
    limited.problem().map_or(Ok(()), Err)
}

/// Puts a refusal on the host's log. Not into the audit, which lasts: strangers must not be able to fill it.
fn refused(parts: &Parts, principal: Option<&Principal>, problem: Problem) -> Problem {
    // Whoever sends nothing has not tried.
    if problem.kind != Kind::Unauthenticated || parts.headers.contains_key(header::AUTHORIZATION) {
        let actor = principal.map(ToString::to_string);
        let reason = problem.members.get("reason").or_else(|| problem.members.get("scope"));
        let reason = reason.and_then(Value::as_str);
        tracing::warn!(target: AUDIT, actor, problem = problem.kind.name(), reason, "refused");
    }
    problem
}

fn lacks(scope: Scope) -> Problem {
    Problem::new(Kind::InsufficientScope, format!("Use a token or key with the scope `{scope}`."))
        .with("scope", scope.as_str())
}

/// The answer to a request that is not let in. One with a method that the path does not have is told which it has (RFC
/// 9110, section 15.5.6).
fn refusal(parts: &Parts, problem: Problem) -> Response {
    let kind = problem.kind;
    let mut response = problem.into_response();
    let path = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    if let (Kind::MethodNotAllowed, Some(path)) = (kind, path)
        && let Ok(methods) = HeaderValue::try_from(access::allowed(path))
    {
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}
