//! What a client says about the user: a name, a language and a time zone, for the words of companions.

use masque_problem::{Kind, Problem};
use masque_store::UserProfile;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The user who writes, as the companion should know them. What is missing is taken from the token, if it says so.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"name\": \"Ada\"}")]
pub(crate) struct UserBody {
    /// What the user wants to be called. At most 64 characters, without line breaks.
    #[schema(example = "Ada", max_length = 64, pattern = r"^[^\x00-\x1F\x7F-\x9F\u2028\u2029]*$")]
    name: Option<String>,
    /// A BCP 47 language tag.
    #[schema(example = "de-AT", max_length = 64, pattern = "^[A-Za-z0-9_-]*$")]
    locale: Option<String>,
    /// An IANA time zone name. Only its characters are checked, not whether there is such a zone.
    #[schema(example = "Europe/Vienna", max_length = 64, pattern = "^[A-Za-z0-9/_+-]*$")]
    timezone: Option<String>,
}

/// The profile for a request: what the client says, completed by what the token says.
///
/// # Errors
/// `InvalidRequest`, naming the field.
pub(crate) fn profile(said: Option<UserBody>, known: UserProfile) -> Result<UserProfile, Problem> {
    let UserBody { name, locale, timezone } = said.unwrap_or_default();
    let said = UserProfile {
        name: checked("name", name, UserProfile::check_name)?,
        locale: checked("locale", locale, UserProfile::check_locale)?,
        timezone: checked("timezone", timezone, UserProfile::check_timezone)?,
    };
    Ok(said.or(known))
}

/// The problem of a body, which names `user` if a field of it was sent outside of it.
pub(crate) fn place_hint(mut problem: Problem) -> Problem {
    let field = problem.members.get("field").and_then(Value::as_str).unwrap_or_default();
    if problem.kind == Kind::UnknownField && matches!(field, "name" | "locale" | "timezone") {
        problem.detail = format!("`{field}` is not known here; it is a field of `user`: `user.{field}`.");
        problem.members.remove("nearest");
    }
    problem
}

/// The text of a field; `None` if it is absent or blank.
fn checked(
    field: &str,
    text: Option<String>,
    check: fn(&str) -> Result<&str, &'static str>,
) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match check(&text) {
        Ok("") => Ok(None),
        Ok(text) => Ok(Some(text.to_owned())),
        Err(rule) => {
            let field = format!("user.{field}");
            Err(Problem::new(Kind::InvalidRequest, format!("`{field}` {rule}.")).with("field", field))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<UserProfile, Problem> {
        let known = UserProfile { name: Some("Token".to_owned()), ..UserProfile::default() };
        profile(Some(serde_json::from_value(body).unwrap()), known)
    }

    #[test]
    fn what_the_client_says_comes_before_what_the_token_says() {
        for (body, wanted) in [
            (json!({ "name": " Ada " }), "Ada"),
            (json!({ "name": "" }), "Token"),
            (json!({ "name": null }), "Token"),
            (json!({ "locale": "de" }), "Token"),
        ] {
            assert_eq!(read(body).unwrap().name.as_deref(), Some(wanted));
        }
    }

    #[test]
    fn a_name_with_a_line_break_is_refused_by_field() {
        for body in [json!({ "name": "a\nb" }), json!({ "name": "x".repeat(65) })] {
            let problem = read(body).unwrap_err();
            assert_eq!(problem.kind, Kind::InvalidRequest);
            assert!(problem.to_value(None).to_string().contains("user.name"));
        }
    }
}
