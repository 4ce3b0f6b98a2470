//! Reads claims of a payload, by name or by path. A claim that is `null` is absent: some providers write every claim that
//! they know. Errors name the claim.

use serde_json::{Map, Value};

use super::rejection::TokenRejection;

/// The end of the year 9999, in seconds since the Unix epoch. Later times are mistakes; no sum with an earlier one
/// overflows.
const MAX_TIME: f64 = 253_402_300_799.0;

/// What a claim means that is one string where a list is possible.
#[derive(Clone, Copy)]
pub(super) enum SingleString {
    /// A list with this one item.
    OneItem,
    /// A list separated by spaces (RFC 6749, section 3.3).
    SpaceSeparated,
}

/// The claim with this name, or at the end of this path, such as `realm_access.roles`. A member that has the whole text as
/// its name comes first, since a name can be a URL with dots in it; so does a longer name at each step of the path.
pub(super) fn find<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(claim) = claims.get(path).filter(|claim| !claim.is_null()) {
        return Some(claim);
    }
    path.rmatch_indices('.').find_map(|(dot, _)| {
        let (name, rest) = (path.get(..dot)?, path.get(dot + 1..)?);
        find(claims.get(name)?.as_object()?, rest)
    })
}

/// Reads a NumericDate (RFC 7519, section 2), rounded down to whole seconds.
pub(super) fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<i64>, TokenRejection> {
    let Some(value) = find(claims, claim) else { return Ok(None) };
    match value.as_f64() {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "fractions are dropped, and the whole seconds fit"
        )]
        Some(time) if (0.0..=MAX_TIME).contains(&time) => Ok(Some(time as i64)),
        _ => Err(wrong_form(claim, "a time in seconds since 1970")),
    }
}

/// Reads a string.
pub(super) fn text(claims: &Map<String, Value>, claim: &str) -> Result<Option<String>, TokenRejection> {
    match find(claims, claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong_form(claim, "a string")),
    }
}

/// Reads a string or a list of strings. A `null` in the list is no item.
pub(super) fn strings(
    claims: &Map<String, Value>,
    claim: &str,
    single: SingleString,
) -> Result<Option<Vec<String>>, TokenRejection> {
    let found = match (find(claims, claim), single) {
        (None, _) => return Ok(None),
        (Some(Value::String(text)), SingleString::OneItem) => Some(vec![text.clone()]),
        (Some(Value::String(text)), SingleString::SpaceSeparated) => {
            Some(text.split_whitespace().map(str::to_owned).collect())
        }
        (Some(Value::Array(items)), _) => {
            let items = items.iter().filter(|item| !item.is_null());
            items.map(|item| item.as_str().map(str::to_owned)).collect()
        }
        (Some(_), _) => None,
    };
    found.map(Some).ok_or_else(|| wrong_form(claim, "a string or a list of strings"))
}

/// The rejection of a claim that is absent.
pub(super) fn missing(claim: &str) -> TokenRejection {
    TokenRejection::MissingClaim(claim.to_owned())
}

/// The rejection of a claim that is not `expected`.
pub(super) fn wrong_form(claim: &str, expected: &'static str) -> TokenRejection {
    TokenRejection::ClaimForm { claim: claim.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn payload() -> Map<String, Value> {
        let payload = json!({
            "sub": "ana",
            "empty": null,
            "realm_access": { "roles": ["chat"], "empty": null },
            "resource_access": { "web.shop": { "roles": ["admin:read"] } },
            "https://id.example.com/roles": ["named"],
            "a.b": "whole",
            "a": { "b": "inner", "c": 1 },
            "null.first": null,
            "null": { "first": "found" },
        });
        payload.as_object().cloned().unwrap()
    }

    #[test]
    fn a_claim_is_found_by_its_name_or_at_the_end_of_a_path() {
        let claims = payload();
        for (path, expected) in [
            ("sub", json!("ana")),
            ("realm_access.roles", json!(["chat"])),
            ("resource_access.web.shop.roles", json!(["admin:read"])),
            ("https://id.example.com/roles", json!(["named"])),
            ("a.b", json!("whole")),
            ("a.c", json!(1)),
            ("null.first", json!("found")),
        ] {
            assert_eq!(find(&claims, path), Some(&expected), "{path}");
        }
        for path in ["", ".", "nothing", "sub.x", "realm_access.", ".roles", "realm_access..roles", "a.b.c"] {
            assert_eq!(find(&claims, path), None, "{path:?}");
        }
    }

    #[test]
    fn a_claim_that_is_null_is_absent() {
        let claims = payload();
        for path in ["empty", "realm_access.empty"] {
            assert_eq!(text(&claims, path), Ok(None));
            assert_eq!(time(&claims, path), Ok(None));
            assert_eq!(strings(&claims, path, SingleString::OneItem), Ok(None));
        }
        let list = json!({ "aud": [null, "masque", null] }).as_object().cloned().unwrap();
        let items = strings(&list, "aud", SingleString::OneItem).unwrap();
        assert_eq!(items, Some(vec!["masque".to_owned()]));
    }

    #[test]
    fn a_claim_in_another_form_is_refused_by_its_name() {
        let claims = payload();
        for refusal in [
            text(&claims, "realm_access.roles").unwrap_err(),
            time(&claims, "realm_access.roles").unwrap_err(),
            strings(&claims, "a.c", SingleString::OneItem).unwrap_err(),
        ] {
            let claim = refusal.claim().unwrap();
            assert!(["realm_access.roles", "a.c"].contains(&claim), "{claim}");
            assert!(refusal.to_string().contains(&format!("`{claim}`")), "{refusal}");
        }
    }
}
