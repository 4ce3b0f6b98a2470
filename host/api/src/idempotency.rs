//! `Idempotency-Key`: which keys are valid, and when two bodies are the same request.

use std::fmt::Write as _;

use http::HeaderMap;
use serde_json::Value;
use sha2::{Digest, Sha256};

use masque_problem::{Kind, Problem};

pub(crate) const HEADER: &str = "idempotency-key";

/// The field that changes only how the reply is delivered.
const DELIVERY: &str = "stream";

/// Returns the key of a request, if it has one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.as_bytes();
    let fits =
        (1..=255).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic) && values.next().is_none();
    match value.to_str() {
        Ok(key) if fits => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            Kind::InvalidRequest,
            "`Idempotency-Key` is given once, as 1 to 255 visible ASCII characters; a UUID serves well.",
        )
        .with("field", "Idempotency-Key")),
    }
}

/// Returns the SHA-256 of the canonical body. Bodies that differ only in the order of keys or in `stream` have the same
/// digest.
pub(crate) fn digest(mut body: Value) -> Vec<u8> {
    let mut text = String::new();
    if let Value::Object(object) = &mut body {
        object.remove(DELIVERY);
    }
    canonical(&body, &mut text);
    Sha256::digest(text.as_bytes()).to_vec()
}

/// Writes JSON with sorted keys and without white space.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (key, member) in members {
                canonical(&Value::String(key.clone()), text);
                text.push(':');
                canonical(member, text);
                text.push(',');
            }
            text.push('}');
        }
        // Writing to a string cannot fail.
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn neither_order_nor_delivery_makes_another_request() {
        let first: Value = serde_json::from_str(r#"{"message":"hi","metadata":{"a":1,"b":2}}"#).unwrap();
        let second: Value =
            serde_json::from_str(r#"{"metadata":{"b":2,"a":1},"stream":true,"message":"hi"}"#).unwrap();
        assert_eq!(digest(first), digest(second));
    }

    #[test]
    fn any_other_difference_does() {
        let body = json!({ "message": "hi" });
        for other in [
            json!({ "message": "ho" }),
            json!({ "message": ["hi"] }),
            json!({ "message": "hi", "metadata": { "stream": true } }),
            json!({ "message": "hi", "companion": "elara" }),
        ] {
            assert_ne!(digest(body.clone()), digest(other.clone()), "{other}");
        }
    }

    #[test]
    fn a_key_is_visible_ascii_given_once() {
        let long = "k".repeat(255);
        let longer = "k".repeat(256);
        let cases: [(&[&str], bool); 7] = [
            (&["a"], true),
            (&[&long], true),
            (&[&longer], false),
            (&[""], false),
            (&["two words"], false),
            (&["\u{e9}"], false),
            (&["a", "a"], false),
        ];
        for (values, fits) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(key(&headers).is_ok(), fits, "{values:?}");
        }
        assert_eq!(key(&HeaderMap::new()).unwrap(), None);
    }
}
