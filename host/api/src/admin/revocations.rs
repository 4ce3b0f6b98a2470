//! `/admin/revocations`: revokes tokens before they expire.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use masque_http::JsonBody;
use masque_store::{NewRevocation, Revoked};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::effect::apply_changes;
use crate::author::Author;
use crate::state::App;
use crate::view::timestamp;
use masque_auth::{is_subject, revocation_target, store_problem};
use masque_problem::{Kind, Problem};

/// What to revoke: one token, or all tokens of a user.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevocationBody {
    /// The `jti` of one token.
    #[schema(example = "01998a3e-7c1f-7d52-9b7e-3f1d2c4b5a69")]
    jti: Option<String>,
    /// A user. All tokens issued to the user until now are revoked; later ones are valid.
    #[schema(example = "ana")]
    user_id: Option<String>,
    /// The issuer of the token or user. By default this host.
    issuer: Option<String>,
    /// With `user_id`: the user's tenant. By default every tenant.
    tenant: Option<String>,
}

/// What was revoked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevocationView {
    issuer: String,
    jti: Option<String>,
    user_id: Option<String>,
    tenant: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: String,
}

/// Revokes a token, or all tokens of a user. Takes effect at once on this host, and within 5 seconds on every host.
#[utoipa::path(
    post, path = "/admin/revocations", tag = "admin",
    request_body = RevocationBody,
    responses(
        (status = 201, description = "It is revoked.", body = RevocationView),
        (status = 422, description = "A field is unknown, missing or has a value that is not allowed."),
    ),
)]
pub(crate) async fn revoke(
    State(app): State<App>,
    author: Author,
    body: JsonBody<RevocationBody>,
) -> Result<(StatusCode, Json<RevocationView>), Problem> {
    let RevocationBody { jti, user_id, issuer, tenant } = body.into_data();
    let issuer = issuer.unwrap_or_else(|| app.options.issuer.clone());
    let what = match (jti, user_id) {
        (Some(jti), None) if tenant.is_none() => {
            if !is_subject(&jti) {
                return Err(invalid("jti", "`jti` is 1 to 255 characters, none of them a control."));
            }
            Revoked::Token { jti }
        }
        (Some(_), None) => return Err(invalid("tenant", "`tenant` goes with `user_id`.")),
        (None, Some(subject)) => {
            if !is_subject(&subject) {
                return Err(invalid("user_id", "`user_id` is 1 to 255 characters, none of them a control."));
            }
            Revoked::User { subject, tenant }
        }
        (None, None) => return Err(invalid("jti", "Name a token by `jti`, or a user by `user_id`.")),
        (Some(_), Some(_)) => return Err(invalid("user_id", "Send `jti` or `user_id`, not both.")),
    };
    if !is_known_issuer(&app, &issuer) {
        return Err(invalid("issuer", "`issuer` is this host's own or one that it is configured to trust."));
    }
    let revocation = NewRevocation { issuer, what };
    let detail = json!({ "issuer": revocation.issuer });
    let entry = author.entry("token.revoke", revocation_target(&revocation), detail);
    let revocation = app.store.revoke(revocation, entry).await.map_err(store_problem)?;
    apply_changes(&app).await;
    let (jti, user_id, tenant) = match revocation.what {
        Revoked::Token { jti } => (Some(jti), None, None),
        Revoked::User { subject, tenant } => (None, Some(subject), tenant),
    };
    let revoked_at = timestamp(revocation.revoked_at);
    Ok((
        StatusCode::CREATED,
        Json(RevocationView { issuer: revocation.issuer, jti, user_id, tenant, revoked_at }),
    ))
}

/// Whether revocations of this issuer can have an effect. Without authentication every issuer is accepted; the revocation
/// takes effect once authentication is on.
fn is_known_issuer(app: &App, issuer: &str) -> bool {
    app.identity.as_ref().is_none_or(|identity| identity.tokens().trusts(issuer))
}

fn invalid(field: &str, detail: &str) -> Problem {
    Problem::new(Kind::InvalidRequest, detail).with("field", field)
}
