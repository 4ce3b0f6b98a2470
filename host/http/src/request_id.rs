//! The id that ties a request to its lines in the log.

use http::HeaderMap;
use uuid::Uuid;

/// The name of the header that carries the request id, in requests and in responses.
pub const REQUEST_ID: &str = "x-request-id";

/// The id of a request. It is in the extensions of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// The id that the client sent, if it is harmless in a log line: 1 to 128 letters, digits, `.`, `_` and `-`. Otherwise
    /// a new UUIDv7.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        match given {
            Some(id) if is_harmless(id) => Self(id.to_owned()),
            _ => Self(Uuid::now_v7().to_string()),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Other characters could forge a field or a line of the log.
fn is_harmless(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_request_id_that_could_forge_a_log_line_is_replaced() {
        let long = "a".repeat(128);
        let longer = "a".repeat(129);
        let cases = [
            ("abc-1.2_3", true),
            (long.as_str(), true),
            (longer.as_str(), false),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            ("a/b", false),
            ("\u{e9}", false),
        ];
        for (id, is_kept) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap());
            assert_eq!(RequestId::from_headers(&headers).as_str() == id, is_kept, "{id:?}");
        }
        assert!(Uuid::parse_str(RequestId::from_headers(&HeaderMap::new()).as_str()).is_ok());
    }
}
