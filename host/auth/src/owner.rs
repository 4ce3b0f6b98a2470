//! The parts of an owner: the tenants, issuers and subjects that users are told apart by, and the form of each.

/// The tenant of every user whose token or key names no other.
pub const DEFAULT_TENANT: &str = "default";
/// The issuer of owners that are API keys. The configuration refuses it as the issuer of tokens.
pub const KEY_ISSUER: &str = "api-key";
/// The issuer of the only user there is while authentication is off. The configuration refuses it as the issuer of
/// tokens.
pub const LOCAL_ISSUER: &str = "local";

/// The longest user id and the longest token id, in characters.
pub(crate) const MAX_SUBJECT_CHARS: usize = 255;

/// Whether the text can be a user's id: 1 to 255 characters, none of them a control character.
pub fn is_subject(text: &str) -> bool {
    (1..=MAX_SUBJECT_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// Whether the text matches `[a-z0-9-]{1,64}`, the form of tenants and companions. `masque-grants` has the same rule
/// for the names in the configuration; this crate can't depend on it.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_64_lower_case_letters_digits_and_hyphens() {
        for name in ["a", "acme", "web-shop-2", "-", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for text in ["", "Acme", "a b", "a_b", "é", "a\n", &"x".repeat(65)] {
            assert!(!is_name(text), "{text:?}");
        }
    }

    #[test]
    fn a_subject_has_1_to_255_characters_and_no_control() {
        for subject in ["a", "ana@example.com", "é", &"é".repeat(255)] {
            assert!(is_subject(subject), "{subject}");
        }
        for text in ["", "a\nb", "\u{0}", &"x".repeat(256)] {
            assert!(!is_subject(text), "{text:?}");
        }
    }
}
