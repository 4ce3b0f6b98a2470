//! Secrets as people and tools hand them over: with a line break or spaces around them, or in quotes that nobody removed.
//! Secrets from variables and from files are read the same way, so that moving one does not change it.

/// The secret without the white space around it, and without the byte order mark that some editors write.
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim()
}

/// The complaint about a secret that is in quotes, and the remedy. The quotes stay: they may belong to the secret.
pub(crate) fn quotes_of(secret: &str) -> Option<(&'static str, &'static str)> {
    const PAIRS: [(char, char); 5] =
        [('"', '"'), ('\'', '\''), ('`', '`'), ('\u{201c}', '\u{201d}'), ('\u{2018}', '\u{2019}')];
    let is_quoted = PAIRS
        .into_iter()
        .any(|(open, close)| secret.strip_prefix(open).is_some_and(|rest| rest.ends_with(close)));
    is_quoted.then_some((
        "the secret is in quotes, which count as a part of it",
        "Remove them unless they belong to it: a shell removes quotes, but `docker run --env-file` and most files keep them.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_secret_is_no_part_of_it() {
        for text in ["key", "key\n", "key\r\n", " key \n", "\tkey", "\u{feff}key\n"] {
            assert_eq!(trimmed(text), "key", "{text:?}");
        }
        assert_eq!(trimmed("two words\n"), "two words");
        assert_eq!(trimmed(" \n"), "");
    }

    #[test]
    fn quotes_around_a_secret_are_noticed_and_others_are_not() {
        for text in ["\"key\"", "'key'", "`key`", "\u{201c}key\u{201d}", "\"\""] {
            assert!(quotes_of(text).is_some(), "{text}");
        }
        for text in ["key", "\"key", "key\"", "k\"e\"y", "\"key'", "\"", "'", ""] {
            assert!(quotes_of(text).is_none(), "{text}");
        }
    }
}
