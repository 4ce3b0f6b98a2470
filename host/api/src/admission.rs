//! Admission: the checks that every request passes before its body is read.
//!
//! Authentication and the scope of the route first, which need no server, then the rate limits of the client's address, of
//! the user and of the API key, all in one round trip where hosts share them. A request that is not authorized counts
//! towards the limit of its address, and is told of that limit first.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, header};
use masque_http::{ClientAddress, ListenerKind};
use masque_telemetry::AUDIT;
use masque_turns::ReservedPlace;
use serde_json::Value;

use super::access::{self, Rule};
use super::state::App;
use masque_auth::limits::{LimitDecision, headers};
use masque_auth::{Actor, Principal, Scope, count_failure};
use masque_problem::{Kind, Problem};

/// The route that begins turns.
const CHAT: &str = "/chat";

/// The middleware around every route, unknown ones included.
pub(super) async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut limits = Vec::new();
    let admitted = judge(&app, &parts, &mut limits).await;
    let mut response = match admitted {
        Ok(Admitted { principal, place }) => {
            if let Some(principal) = principal {
                parts.extensions.insert(principal);
            }
            if let Some(place) = place {
                parts.extensions.insert(place);
            }
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => refusal(&parts, problem),
    };
    headers::write(response.headers_mut(), &limits);
    response
}

/// A request that may be handled.
#[derive(Default)]
struct Admitted {
    /// Who makes it; `None` where the route requires nobody.
    principal: Option<Principal>,
    /// The user's place for the turn that it begins, if it does and a place is free.
    place: Option<ReservedPlace>,
}

/// Returns who makes the request, or why it is refused. The state of
/// every limit that was checked is added to `limits` in each case, for the response headers.
async fn judge(app: &App, parts: &Parts, limits: &mut Vec<LimitDecision>) -> Result<Admitted, Problem> {
    let path = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let listener = parts.extensions.get().copied().unwrap_or(ListenerKind::Public);
    let rule = path.map(|path| {
        access::rule(&parts.method, path).map(|rule| access::required(rule, listener, &parts.uri))
    });
    if rule == Some(Some(Rule::Probe)) {
        return Ok(Admitted::default());
    }
    let authorized = authorize(app, parts, rule).await;
    // Also where the rate limits refuse the request: this is when guesses are made.
    if let Err(Refusal { problem, is_logged: true, .. }) = &authorized {
        count_failure(problem, parts.headers.contains_key(header::AUTHORIZATION));
    }
    let principal = authorized.as_ref().ok().and_then(Option::as_ref);
    let place = async {
        let begins_turn = parts.method == Method::POST && path == Some(CHAT);
        app.turns.reserve(&principal.filter(|_| begins_turn)?.owner).await
    };
    // The owner of the machine can't be locked out by rate limits.
    let limited = principal.filter(|principal| principal.actor != Actor::Machine);
    let address = parts.extensions.get().map(|ClientAddress(address)| *address);
    // Both ask the memory that hosts share, at the same time.
    let (decisions, place) = tokio::join!(app.limits.take(address, limited), place);
    limits.extend(decisions);
    if let Some(problem) = limits.last().and_then(LimitDecision::problem) {
        return Err(problem);
    }
    authorized.map(|principal| Admitted { principal, place }).map_err(|refusal| refusal.logged(parts))
}

/// Why a request is not allowed.
struct Refusal {
    problem: Problem,
    /// Who made it, if that is known.
    principal: Option<Principal>,
    /// Whether it is an attempt to get what the caller may not have.
    is_logged: bool,
}

impl From<Kind> for Refusal {
    fn from(kind: Kind) -> Self {
        Self { problem: kind.into(), principal: None, is_logged: false }
    }
}

impl Refusal {
    /// The problem, after it was logged. To be called once the rate limits allow the request: strangers could fill the log
    /// otherwise.
    fn logged(self, parts: &Parts) -> Problem {
        if self.is_logged { refused(parts, self.principal.as_ref(), self.problem) } else { self.problem }
    }
}

/// Authenticates the request and checks the scope of its route. Asks no server.
async fn authorize(
    app: &App,
    parts: &Parts,
    rule: Option<Option<Rule>>,
) -> Result<Option<Principal>, Refusal> {
    let (rule, proven) = match rule {
        // An unknown path: the fallback answers it.
        None | Some(Some(Rule::Probe | Rule::Open)) => return Ok(None),
        Some(None) => return Err(Kind::MethodNotAllowed.into()),
        Some(Some(rule @ (Rule::Needs(_) | Rule::NeedsInPublic(_) | Rule::Either(..)))) => (rule, false),
        Some(Some(rule @ Rule::Admin(_))) => (rule, true),
    };
    let principal = match app.authenticator.authenticate(parts).await {
        Ok(principal) => principal,
        Err(problem) => return Err(Refusal { problem, principal: None, is_logged: true }),
    };
    if proven && principal.actor == Actor::Anyone {
        return Err(Kind::AdminElsewhere.into());
    }
    if !rule.scopes().any(|scope| principal.scopes.has(scope)) {
        let problem = rule.scopes().next().map_or(Kind::Internal.into(), lacks);
        return Err(Refusal { problem, principal: Some(principal), is_logged: true });
    }
    Ok(Some(principal))
}

/// Logs a refusal. Refusals are not stored in the audit table, because strangers could fill it.
fn refused(parts: &Parts, principal: Option<&Principal>, problem: Problem) -> Problem {
    // A request without credentials is no attempt to authenticate.
    if problem.kind != Kind::Unauthenticated || parts.headers.contains_key(header::AUTHORIZATION) {
        let actor = principal.map(ToString::to_string);
        let reason = problem.members.get("reason").or_else(|| problem.members.get("scope"));
        let reason = reason.and_then(Value::as_str);
        let claim = problem.members.get("claim").and_then(Value::as_str);
        tracing::warn!(target: AUDIT, actor, problem = problem.kind.name(), reason, claim, "refused");
    }
    problem
}

fn lacks(scope: Scope) -> Problem {
    Problem::new(Kind::InsufficientScope, format!("Use a token or key with the scope `{scope}`."))
        .with("scope", scope.as_str())
}

/// Returns the response of a refused request. For a method that the path does not have, `Allow` lists those it has (RFC
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
