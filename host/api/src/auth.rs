//! `/auth`: mints tokens for users and validates tokens.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use masque_http::JsonBody;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::author::Author;
use super::schema::ScopeName;
use super::state::App;
use masque_auth::{
    Actor, Scope, Scopes, TokenRequest, Validity, bearer_credential, is_subject, store_problem,
};
use masque_problem::{Kind, Problem};

/// A request for a token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenBody {
    /// The user: 1 to 255 characters.
    #[schema(example = "ana", min_length = 1, max_length = 255)]
    user_id: String,
    /// The lifetime. The default and the maximum are configured; a token never outlives the API key that minted it.
    #[schema(example = 1.0, exclusive_minimum = 0.0)]
    expires_in_hours: Option<f64>,
    /// By default `chat`. Only scopes that the API key has and that can be minted.
    #[schema(value_type = Option<Vec<ScopeName>>, example = json!(["chat"]))]
    scopes: Option<Vec<String>>,
}

/// A token, in the form of RFC 6749, section 5.1.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenReply {
    access_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// Seconds.
    #[schema(example = 3600)]
    expires_in: u64,
}

/// What to validate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValidateBody {
    /// A token or an API key; without it, the one in `Authorization`.
    token: Option<String>,
}

/// Whether a token is valid at this moment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ValidateReply {
    valid: bool,
    /// Its claims, if it is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<Map<String, Value>>,
    /// The host's id of the user that it stands for, if it is valid and the host has stored anything for them. An erased
    /// user who comes back gets another id.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<Uuid>,
    /// Why it is not valid, as a stable word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "expired")]
    reason: Option<&'static str>,
    /// The claim that is missing or wrong, if that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "exp")]
    claim: Option<String>,
}

/// Mints a token for a user.
///
/// Requires an API key with the scope `tokens:mint`. The token belongs to the key's tenant; the key's budgets and allowed
/// companions apply to it.
#[utoipa::path(
    post, path = "/auth/token", tag = "auth",
    request_body = TokenBody,
    responses(
        (status = 200, description = "The token.", body = TokenReply),
        (status = 404, description = "The host has no secret to sign tokens with."),
        (status = 422, description = "A field is unknown, missing or has a value that is not allowed."),
    ),
)]
pub(crate) async fn mint(
    State(app): State<App>,
    author: Author,
    body: JsonBody<TokenBody>,
) -> Result<Json<TokenReply>, Problem> {
    let principal = &author.principal;
    let Some(identity) = &app.identity else { return Err(Kind::MintingOff.into()) };
    let TokenBody { user_id, expires_in_hours, scopes } = body.into_data();
    if !is_subject(&user_id) {
        let detail = "`user_id` is 1 to 255 characters, none of them a control.";
        return Err(Problem::new(Kind::InvalidRequest, detail).with("field", "user_id"));
    }
    let tokens = identity.tokens();
    // A token does not outlive its API key.
    let rest = principal.key.as_ref().and_then(|key| key.remaining_lifetime(SystemTime::now()));
    let (usual, longest) = (tokens.default_lifetime(), tokens.max_lifetime());
    let longest = rest.map_or(longest, |rest| longest.min(rest));
    let lifetime = lifetime(expires_in_hours, (usual.min(longest), longest))?;
    let scopes = grantable(scopes, principal.scopes)?;
    let client_id = match (principal.actor, &principal.key) {
        (Actor::Key, Some(key)) => Some(key.id.to_string()),
        (Actor::Machine, _) => None,
        _ => {
            let detail = "Tokens are made with an API key, not with another token.";
            return Err(
                Problem::new(Kind::InsufficientScope, detail).with("scope", Scope::TokensMint.as_str())
            );
        }
    };
    let request = TokenRequest {
        subject: user_id.clone(),
        tenant: principal.owner.tenant.clone(),
        scopes: scopes.iter().map(|scope| scope.to_string()).collect(),
        client_id,
        lifetime,
    };
    let minted = tokens.mint(&request).map_err(|_| Problem::from(Kind::MintingOff))?;
    let detail = json!({
        "user": user_id,
        "scopes": scopes.to_string(),
        "expires_in": minted.expires_in.as_secs(),
    });
    let entry = author.entry("token.mint", format!("token:{}", minted.jti), detail);
    // The audit entry comes first: a token without one is never handed out.
    app.store.record(entry).await.map_err(store_problem)?;
    Ok(Json(TokenReply {
        access_token: minted.token,
        token_type: "bearer",
        expires_in: minted.expires_in.as_secs(),
    }))
}

/// Validates a token or an API key: the one in the body, or else the one in `Authorization`.
#[utoipa::path(
    post, path = "/auth/validate", tag = "auth",
    request_body = Option<ValidateBody>,
    responses(
        (status = 200, description = "Whether it is valid, and its claims.", body = ValidateReply),
        (status = 422, description = "There is no token, or a field is unknown."),
    ),
)]
pub(crate) async fn validate(
    State(app): State<App>,
    headers: HeaderMap,
    body: Option<JsonBody<ValidateBody>>,
) -> Result<Response, Problem> {
    let given = body.and_then(|body| body.into_data().token);
    let credential = match &given {
        Some(token) => token.as_str(),
        None => bearer_credential(&headers)?.ok_or_else(|| {
            let detail = "Send `{\"token\": …}`, or the token as `Authorization: Bearer`.";
            Problem::new(Kind::InvalidRequest, detail).with("field", "token")
        })?,
    };
    let validity = match &app.identity {
        Some(identity) => identity.validate(credential).await?,
        None => Validity::Invalid { reason: "authentication-off", claim: None },
    };
    let reply = match validity {
        Validity::Valid { claims, owner } => {
            let user_id = app.store.user_id(&owner).await.map_err(store_problem)?;
            ValidateReply { valid: true, claims: Some(claims), user_id, reason: None, claim: None }
        }
        Validity::Invalid { reason, claim } => {
            ValidateReply { valid: false, claims: None, user_id: None, reason: Some(reason), claim }
        }
    };
    Ok(Json(reply).into_response())
}

/// Returns the lifetime of a token. A longer one than allowed is an error, not shortened: a client that asked for a month
/// must not get a day without notice.
fn lifetime(hours: Option<f64>, (usual, longest): (Duration, Duration)) -> Result<Duration, Problem> {
    let Some(hours) = hours else { return Ok(usual) };
    let asked = Duration::try_from_secs_f64((hours * 3600.0).round()).ok();
    match asked {
        Some(asked) if asked <= longest && asked >= Duration::from_secs(1) => Ok(asked),
        _ => {
            let most = longest.as_secs_f64() / 3600.0;
            let detail = format!("`expires_in_hours` is a number above 0 and at most {most}.");
            Err(Problem::new(Kind::InvalidRequest, detail).with("field", "expires_in_hours"))
        }
    }
}

/// Returns the scopes of a new token: those asked for, if the key holds each and it can be minted.
fn grantable(asked: Option<Vec<String>>, held: Scopes) -> Result<Scopes, Problem> {
    let Some(asked) = asked else {
        let usual: Scopes = [Scope::Chat].into_iter().collect();
        return if held.has(Scope::Chat) { Ok(usual) } else { Err(not_held(Scope::Chat)) };
    };
    let mut scopes = Vec::new();
    for word in &asked {
        let scope: Scope = word.parse().map_err(|unknown: masque_auth::UnknownScope| {
            let detail = format!("`{}` is no scope; {unknown}.", word.escape_debug());
            Problem::new(Kind::InvalidRequest, detail).with("field", "scopes")
        })?;
        if !scope.can_be_minted() {
            let detail = format!("No token is made with `{scope}`; only an API key can have it.");
            return Err(Problem::new(Kind::InvalidRequest, detail).with("field", "scopes"));
        }
        if !held.has(scope) {
            return Err(not_held(scope));
        }
        scopes.push(scope);
    }
    Ok(scopes.into_iter().collect())
}

fn not_held(scope: Scope) -> Problem {
    let detail = format!("The API key does not have the scope `{scope}` itself, so it can't give it away.");
    Problem::new(Kind::InsufficientScope, detail).with("scope", scope.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_lifetime_is_what_was_asked_for_or_refused() {
        let cases = [
            (None, Some(HOUR)),
            (Some(1.0), Some(HOUR)),
            (Some(0.5), Some(HOUR / 2)),
            (Some(24.0), Some(24 * HOUR)),
            (Some(24.01), None),
            (Some(0.0), None),
            (Some(0.0001), None),
            (Some(-1.0), None),
            (Some(1e300), None),
        ];
        for (hours, expected) in cases {
            assert_eq!(lifetime(hours, (HOUR, 24 * HOUR)).ok(), expected, "{hours:?}");
        }
    }

    #[test]
    fn a_key_gives_away_only_what_it_has_and_nothing_that_rules() {
        let all: Scopes = Scope::ALL.into_iter().collect();
        let minter: Scopes = [Scope::TokensMint].into_iter().collect();
        let ask = |words: &[&str], held| {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            grantable(Some(words), held).map(|scopes| scopes.to_string()).map_err(|problem| problem.kind)
        };
        assert_eq!(ask(&["chat"], all).unwrap(), "chat");
        assert_eq!(ask(&[], all).unwrap(), "");
        assert_eq!(ask(&["chat"], minter), Err(Kind::InsufficientScope));
        let others = Scope::ALL.into_iter().filter(|scope| *scope != Scope::Chat).map(Scope::as_str);
        for word in others.chain(["root", "Chat", ""]) {
            assert_eq!(ask(&[word], all), Err(Kind::InvalidRequest), "{word}");
        }
        assert_eq!(grantable(None, all).unwrap().to_string(), "chat");
        assert_eq!(grantable(None, minter).map_err(|problem| problem.kind), Err(Kind::InsufficientScope));
    }
}
