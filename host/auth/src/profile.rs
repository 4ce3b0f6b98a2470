//! What a token says about its user beyond the id: the standard claims of OpenID Connect (Core 1.0, section 5.1).
//!
//! The claims are words for a companion and nothing else, so one that can't be used never refuses a token.

use masque_store::UserProfile;
use serde_json::{Map, Value};

/// The claims with a name, the preferred one first.
const NAMES: [&str; 4] = ["name", "given_name", "nickname", "preferred_username"];

/// The profile in the claims of a token.
pub(crate) fn from_claims(claims: &Map<String, Value>) -> UserProfile {
    let find = |names: &[&str], check: fn(&str) -> Result<&str, &'static str>| {
        let texts = names.iter().filter_map(|name| claims.get(*name)?.as_str());
        let usable = texts.filter_map(|text| check(text).ok());
        usable.filter(|text| !text.is_empty()).map(str::to_owned).next()
    };
    UserProfile {
        name: find(&NAMES, UserProfile::check_name),
        locale: find(&["locale"], UserProfile::check_locale),
        timezone: find(&["zoneinfo"], UserProfile::check_timezone),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn name(claims: Value) -> Option<String> {
        from_claims(claims.as_object().unwrap()).name
    }

    #[test]
    fn the_first_claim_that_is_a_name_counts() {
        for (claims, wanted) in [
            (json!({ "name": "Ada Lovelace", "preferred_username": "ada" }), Some("Ada Lovelace")),
            (json!({ "name": "", "given_name": "Ada" }), Some("Ada")),
            (json!({ "name": null, "preferred_username": "ada" }), Some("ada")),
            (json!({ "name": 7, "nickname": "Countess" }), Some("Countess")),
            (json!({ "name": "a\nb", "nickname": "Countess" }), Some("Countess")),
            (json!({ "name": "x".repeat(65) }), None),
            (json!({ "sub": "ana" }), None),
        ] {
            assert_eq!(name(claims.clone()).as_deref(), wanted, "{claims}");
        }
    }

    #[test]
    fn language_and_time_zone_are_read_where_they_are_usable() {
        let claims = json!({ "locale": "de-AT", "zoneinfo": "Europe/Vienna" });
        let profile = from_claims(claims.as_object().unwrap());
        assert_eq!(profile.locale.as_deref(), Some("de-AT"));
        assert_eq!(profile.timezone.as_deref(), Some("Europe/Vienna"));
        let odd = json!({ "locale": { "x": 1 }, "zoneinfo": "\u{1b}" });
        assert!(from_claims(odd.as_object().unwrap()).is_empty());
    }
}
