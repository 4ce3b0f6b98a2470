//! Lists of the form `name=value,name=value` with percent-encoded values, which headers and attributes have (W3C Baggage,
//! section 3.3.1).

use masque_grants::Secret;
use percent_encoding::percent_decode_str;

use super::variables::Variables;

/// The headers. No diagnostic quotes a name or a value: where one of the two is missing, the other may be a token.
pub(super) fn headers(variables: Variables<'_>, name: &str, text: &str) -> Vec<(String, Secret)> {
    let parsed = pairs(text).and_then(|pairs| {
        let is_valid = |(name, value): &(String, String)| {
            is_token(name) && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        };
        pairs.iter().all(is_valid).then_some(pairs)
    });
    let Some(pairs) = parsed else {
        let what = "the headers are not a list of names with values";
        variables.refuse(
            name,
            what,
            "Write `NAME=VALUE,NAME=VALUE`, with `%20` for a space and `%2C` for a comma in a value.",
        );
        return Vec::new();
    };
    pairs.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), Secret::from(value))).collect()
}

/// The attributes.
pub(super) fn attributes(variables: Variables<'_>, name: &str, text: &str) -> Vec<(String, String)> {
    pairs(text).unwrap_or_else(|| {
        let what = "the attributes are not a list of names with values";
        variables.refuse(
            name,
            what,
            "Write for example `deployment.environment.name=production,service.namespace=shop`.",
        );
        Vec::new()
    })
}

/// The pairs, or `None` if one has no name, no value or a value that is not UTF-8.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| {
            let (name, value) = item.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let name = name.trim();
            (!name.is_empty()).then(|| (name.to_owned(), value.into_owned()))
        })
        .collect()
}

/// Whether the name can be that of a header (RFC 9110, section 5.6.2).
fn is_token(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_allowed)
}
