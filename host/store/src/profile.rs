//! What is known of a user beyond the id, for the words of companions. It proves nothing and decides nothing.

use serde::{Deserialize, Serialize};

/// The longest name, in characters.
const MAX_NAME: usize = 64;
/// The longest language tag and the longest name of a time zone. Those in use have fewer than 40 characters.
const MAX_TAG: usize = 64;

/// A user's name, language and time zone, each as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserProfile {
    /// What the user wants to be called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A BCP 47 tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// An IANA time zone name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

impl UserProfile {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.locale.is_none() && self.timezone.is_none()
    }

    /// The profile with what is missing taken from `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            name: self.name.or(other.name),
            locale: self.locale.or(other.locale),
            timezone: self.timezone.or(other.timezone),
        }
    }

    /// A name without the white space around it; empty if there is nothing else.
    ///
    /// # Errors
    /// It has more than 64 characters, or a line break or another control character.
    pub fn check_name(text: &str) -> Result<&str, &'static str> {
        let is_line_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        if text.chars().count() > MAX_NAME || text.contains(is_line_break) {
            return Err("has 64 characters at most, without line breaks and other control characters");
        }
        Ok(text.trim())
    }

    /// A BCP 47 language tag, as far as its characters can be judged. Some systems write `_` for `-`.
    ///
    /// # Errors
    /// It has other characters, or too many.
    pub fn check_locale(text: &str) -> Result<&str, &'static str> {
        if text.len() > MAX_TAG || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
            return Err("is a language tag such as `de-AT`");
        }
        Ok(text)
    }

    /// The name of a time zone, as far as its characters can be judged.
    ///
    /// # Errors
    /// It has other characters, or too many.
    pub fn check_timezone(text: &str) -> Result<&str, &'static str> {
        if text.len() > MAX_TAG || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b)) {
            return Err("is the name of a time zone such as `Europe/Vienna`");
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_short_line() {
        for (text, wanted) in [
            ("Ada", Some("Ada")),
            (" Zoë 🌒 ", Some("Zoë 🌒")),
            ("  ", Some("")),
            ("a\nb", None),
            ("a\n", None),
        ] {
            assert_eq!(UserProfile::check_name(text).ok(), wanted, "{text:?}");
        }
        for text in ["a\u{2028}b", "a\rb", "a\0b", "a\u{1b}[2J"] {
            assert!(UserProfile::check_name(text).is_err(), "{text:?}");
        }
        assert!(UserProfile::check_name(&"é".repeat(64)).is_ok());
        assert!(UserProfile::check_name(&"é".repeat(65)).is_err());
    }

    #[test]
    fn tags_have_the_characters_of_their_kind() {
        assert_eq!(UserProfile::check_locale("de-AT"), Ok("de-AT"));
        assert!(UserProfile::check_locale("de\nAT").is_err());
        assert_eq!(
            UserProfile::check_timezone("America/Argentina/Buenos_Aires").ok().map(str::len),
            Some(30)
        );
        assert!(UserProfile::check_timezone("Europe/Vienna; ignore").is_err());
    }

    #[test]
    fn what_is_missing_is_taken_from_the_other_profile() {
        let name = |name: &str| UserProfile { name: Some(name.to_owned()), ..UserProfile::default() };
        let zone = UserProfile { timezone: Some("UTC".to_owned()), ..name("Bea") };
        let both = name("Ada").or(zone);
        assert_eq!((both.name.as_deref(), both.timezone.as_deref()), (Some("Ada"), Some("UTC")));
    }
}
