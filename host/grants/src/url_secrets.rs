//! Finds the secrets in a URL.
//!
//! The threat: some servers take their key in the query of the URL, or in the user before the host. It is then a part of a setting,
//! and a message about a request repeats it. The policy: each value of a query counts as secret, and so does the password before
//! the host, as written, decoded, and as other documents write it. The accepted consequence: an ordinary value of eight bytes or
//! more, such as the date in `api-version=2024-10-21`, is redacted too.

use percent_encoding::percent_decode_str;

use crate::secret::Secret;
use crate::secret_parts::{MIN_SECRET_BYTES, encodings};

/// The secrets in `text`, if it is a URL of `http` or `https` and nothing else. Empty if it has none.
pub fn url_secrets(text: &str) -> Vec<Secret> {
    let text = text.trim();
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return Vec::new();
    };
    if rest.contains(char::is_whitespace) {
        return Vec::new();
    }
    let rest = rest.split_once('#').map_or(rest, |(url, _)| url);
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = address.split_once('/').map_or(address, |(authority, _)| authority);
    let mut written: Vec<&str> = Vec::new();
    if let Some((user, _)) = authority.rsplit_once('@') {
        written.push(user.split_once(':').map_or(user, |(_, password)| password));
    }
    written.extend(query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value)));
    let mut secrets: Vec<String> = Vec::new();
    for part in written {
        let decoded = percent_decode_str(part).decode_utf8_lossy().into_owned();
        secrets.extend(encodings(&decoded));
        secrets.push(decoded);
        secrets.push(part.to_owned());
    }
    secrets.retain(|secret| secret.len() >= MIN_SECRET_BYTES);
    secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    secrets.dedup();
    secrets.into_iter().map(Secret::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_a_query_and_the_password_of_a_url_are_secrets() {
        for (text, wanted) in [
            ("https://h/v1?key=sk-123456789", &["sk-123456789"][..]),
            (" http://h?a=1&key=sk-123456789#top ", &["sk-123456789"]),
            ("https://h/v1?sk-123456789", &["sk-123456789"]),
            (
                "https://h/?key=a%2Fb%2fc-1234",
                &["a%2Fb%2fc-1234", "a/b/c-1234", "a%2Fb%2Fc-1234", "a\\/b\\/c-1234"],
            ),
            ("https://me:pass-12345@h/v1", &["pass-12345"]),
            ("https://token-12345@h/v1", &["token-12345"]),
        ] {
            let found = url_secrets(text);
            let found: Vec<_> = found.iter().map(Secret::reveal).collect();
            for secret in wanted {
                assert!(found.contains(secret), "{text}: {secret} is not in {found:?}");
            }
            assert!(found.is_sorted_by_key(|secret| std::cmp::Reverse(secret.len())), "{found:?}");
        }
    }

    #[test]
    fn a_url_without_a_query_and_a_text_that_is_no_url_have_none() {
        for text in [
            "https://api.test/v1/chat/completions",
            "http://127.0.0.1:11434/v1?",
            "https://h/v1?a=1&b=2",
            "is https://h/v1?key=sk-123456789 right?",
            "https://h/v1?key=sk-123456789 is right",
            "why?key=sk-123456789",
            "ftp://h/v1?key=sk-123456789",
            "",
        ] {
            assert_eq!(url_secrets(text), [], "{text}");
        }
    }
}
