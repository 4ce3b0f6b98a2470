//! Finds the parts of a credential's value that are redacted wherever they turn up.
//!
//! The threat: an upstream echoes a credential in part, without its scheme, as one of several cookies, or decoded, and a rule that
//! looks for one text does not find it. The policy: every part of at least eight bytes is a secret, whichever way the value is
//! divided: as a whole, in words, in list elements, in names and values. A value of HTTP Basic authentication (RFC 7617) also
//! counts decoded, and each part counts percent-encoded and escaped for JSON. The names of authentication schemes and of cookies
//! are no secrets. The accepted consequence: a part that is an ordinary word of eight letters is redacted too, a part that is
//! shorter is not, and an echo in another encoding passes.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderName;
use http::header::COOKIE;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::secret::Secret;

/// Shorter parts also occur in ordinary text and are not redacted. None that protects anything is shorter.
pub const MIN_SECRET_BYTES: usize = 8;

/// Schemes of the IANA registry and common others that are long enough to be taken for a secret. A shorter one is never redacted.
const LONG_SCHEMES: [&str; 8] = [
    "negotiate",
    "concealed",
    "privatetoken",
    "scram-sha-1",
    "scram-sha-256",
    "aws4-hmac-sha256",
    "geniekey",
    "sharedaccesssignature",
];

/// Everything but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// The secrets in the value of `header`, longest first. `variables` are texts in it that are known to be secret.
pub(crate) fn secret_parts(header: &HeaderName, value: &str, variables: &[Secret]) -> Vec<Secret> {
    let mut parts = Vec::new();
    let value = value.trim();
    let rest = match value.split_once(char::is_whitespace) {
        Some((scheme, rest)) if is_long_scheme(scheme) => rest.trim(),
        _ => value,
    };
    if header == COOKIE {
        parts.push(rest);
        let values = rest.split(';').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
        values.for_each(|value| divide(value, &mut parts));
    } else {
        divide(rest, &mut parts);
    }
    variables.iter().for_each(|variable| divide(variable.reveal(), &mut parts));
    let mut secrets: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
    secrets.extend(parts.iter().filter_map(|part| decode_basic(part)).flat_map(|decoded| {
        let mut parts = Vec::new();
        divide(&decoded, &mut parts);
        // Only the first colon divides the user from the password.
        parts.extend(decoded.split_once(':').map_or("", |(_, password)| password).split(char::is_control));
        parts.into_iter().map(str::to_owned).collect::<Vec<_>>()
    }));
    let encoded: Vec<_> = secrets.iter().flat_map(|part| encodings(part)).collect();
    secrets.extend(encoded);
    secrets.retain(|part| part.len() >= MIN_SECRET_BYTES && !part.contains(char::is_control));
    secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    secrets.dedup();
    secrets.into_iter().map(Secret::from).collect()
}

fn is_long_scheme(word: &str) -> bool {
    LONG_SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(word))
}

/// Adds the text, its words, the elements of its lists, and the names and values of these.
fn divide<'a>(text: &'a str, parts: &mut Vec<&'a str>) {
    for line in text.split(char::is_control) {
        parts.push(line.trim());
        parts.extend(line.split_whitespace());
        parts.extend(line.split([';', ',']).map(str::trim));
        parts.extend(line.split(|c: char| c.is_whitespace() || ";,".contains(c)));
        parts.extend(line.split(|c: char| c.is_whitespace() || ";,=:\"'&|@".contains(c)));
    }
}

/// The user and password behind a value of Basic authentication, whatever scheme is written before it.
fn decode_basic(word: &str) -> Option<String> {
    let decoded = [STANDARD, URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(word).ok())?;
    String::from_utf8(decoded).ok().filter(|decoded| decoded.contains(':'))
}

/// How a page, an address or a JSON document writes the part, where that differs from the part itself.
pub(crate) fn encodings(part: &str) -> Vec<String> {
    let percent = utf8_percent_encode(part, RESERVED).to_string();
    let lower = lower_case_escapes(&percent);
    let json = part.replace('\\', "\\\\").replace('"', "\\\"");
    // Many encoders for JSON also escape the slash.
    let slashes = json.replace('/', "\\/");
    [percent, lower, json, slashes].into_iter().filter(|encoded| encoded != part).collect()
}

/// `%2B` as `%2b`.
fn lower_case_escapes(percent: &str) -> String {
    let mut pieces = percent.split('%');
    let mut lower = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at(piece.len().min(2));
        lower.push('%');
        lower.push_str(&digits.to_ascii_lowercase());
        lower.push_str(rest);
    }
    lower
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;

    fn parts(header: &HeaderName, value: &str, variables: &[&str]) -> Vec<String> {
        let variables: Vec<_> = variables.iter().map(|text| Secret::from((*text).to_owned())).collect();
        let parts = secret_parts(header, value, &variables);
        parts.iter().map(|secret| secret.reveal().to_owned()).collect()
    }

    #[test]
    fn every_long_part_of_a_value_is_a_secret() {
        for (header, value, variables, secrets) in [
            (AUTHORIZATION, "Bearer sk-123456789", &[][..], &["sk-123456789"][..]),
            (AUTHORIZATION, "Bearer sk-123456789 ", &[], &["sk-123456789"]),
            (AUTHORIZATION, "  sk-123456789\t", &[], &["sk-123456789"]),
            (AUTHORIZATION, "Negotiate sk-123456789", &[], &["sk-123456789"]),
            (
                AUTHORIZATION,
                "Basic aWRhOnNlY3JldC0xMjM=",
                &[],
                &["aWRhOnNlY3JldC0xMjM", "secret-123", "ida:secret-123"],
            ),
            (
                AUTHORIZATION,
                "Basic aWRhOmE6YjpjOmQ6ZQ",
                &[],
                &["aWRhOmE6YjpjOmQ6ZQ", "ida:a:b:c:d:e", "a:b:c:d:e"],
            ),
            (COOKIE, "session=0123456789; theme=x", &[], &["0123456789", "session=0123456789; theme=x"]),
            (COOKIE, "theme=x; session_id=\"0123456789\"", &[], &["0123456789"]),
            (AUTHORIZATION, "key-abcdefgh.id", &["abcdefgh"], &["abcdefgh", "key-abcdefgh.id"]),
            (
                AUTHORIZATION,
                "a-of-key-1:b-of-key-2",
                &[],
                &["a-of-key-1", "b-of-key-2", "a-of-key-1:b-of-key-2"],
            ),
            (
                AUTHORIZATION,
                "Digest username=\"ida-the-first\", response=\"6629fae49393a05397450978507c4ef1\"",
                &[],
                &["ida-the-first", "6629fae49393a05397450978507c4ef1"],
            ),
            (AUTHORIZATION, "my pass is four words", &[], &["my pass is four words"]),
            (
                AUTHORIZATION,
                "Bearer a+b/c+d/e=",
                &[],
                &["a+b/c+d/e=", "a%2Bb%2Fc%2Bd%2Fe%3D", "a%2bb%2fc%2bd%2fe%3d", "a+b\\/c+d\\/e="],
            ),
            (AUTHORIZATION, "quoted\"key\\1", &[], &["quoted\"key\\1", "quoted\\\"key\\\\1"]),
        ] {
            let found = parts(&header, value, variables);
            for secret in secrets {
                assert!(found.iter().any(|part| part == secret), "{value}: {secret} is not in {found:?}");
            }
        }
    }

    #[test]
    fn schemes_names_and_short_parts_are_no_secrets() {
        for (header, value, open) in [
            (AUTHORIZATION, "Negotiate sk-123456789", "Negotiate"),
            (COOKIE, "session_id=0123456789; theme=x", "session_id"),
            (AUTHORIZATION, "Bearer sk-1", "sk-1"),
        ] {
            let found = parts(&header, value, &[]);
            assert!(found.iter().all(|part| part != open), "{value}: {found:?}");
            assert!(found.iter().all(|part| part.len() >= MIN_SECRET_BYTES), "{found:?}");
        }
    }

    #[test]
    fn the_longest_part_is_first() {
        let found = parts(&COOKIE, "a=0123456789; b=01234567890", &[]);
        assert!(found.is_sorted_by_key(|part| std::cmp::Reverse(part.len())), "{found:?}");
    }

    #[test]
    fn no_part_holds_a_control_character() {
        // `aWRhOnNlY3JldFwK…` decodes to a password with a line break.
        let value = format!(
            "Basic {}",
            base64::prelude::BASE64_STANDARD.encode("ida-the-first:first-line\nsecond-line")
        );
        let found = parts(&AUTHORIZATION, &value, &[]);
        assert!(found.iter().all(|part| !part.contains(char::is_control)), "{found:?}");
        for secret in ["first-line", "second-line", "ida-the-first"] {
            assert!(found.iter().any(|part| part == secret), "{found:?}");
        }
    }
}
