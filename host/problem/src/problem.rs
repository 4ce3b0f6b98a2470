//! One occurrence of a problem, and the response that it makes.

use std::time::Duration;

use axum_core::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde_json::{Map, Value};

use crate::kind::Kind;

/// The media type of RFC 9457, section 6.1.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One occurrence of a [`Kind`].
///
/// The response has the kind's status, `Retry-After` if a wait is known, a `WWW-Authenticate` challenge for refused
/// credentials, and this value as an extension: the layer that knows the request's id replaces the body with one that
/// has `request_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The problem type.
    pub kind: Kind,
    /// A sentence for the client that says what to do.
    pub detail: String,
    /// How long the client should wait before it tries again.
    pub retry_after: Option<Duration>,
    /// Extension members (RFC 9457, section 3.2), such as `field` or `nearest`.
    pub members: Map<String, Value>,
}

impl Problem {
    /// An occurrence with this detail and the kind's own `retry_after`.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: kind.retry_after(), members: Map::new() }
    }

    /// Replaces the wait that the kind recommends.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds an extension member. `type`, `title`, `status`, `detail`, `retry_after` and `request_id` are reserved: a member
    /// with such a name is overwritten.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The problem object: the body of a response, or the data of a `turn.failed` event.
    pub fn to_value(&self, request_id: Option<&str>) -> Value {
        let mut object = self.members.clone();
        object.insert("type".into(), self.kind.uri().into());
        object.insert("title".into(), self.kind.title().into());
        object.insert("status".into(), self.kind.status().as_u16().into());
        object.insert("detail".into(), self.detail.as_str().into());
        if let Some(wait) = self.retry_after {
            object.insert("retry_after".into(), whole_seconds(wait).into());
        }
        if let Some(id) = request_id {
            object.insert("request_id".into(), id.into());
        }
        Value::Object(object)
    }

    /// The response, with the request's id in its body if there is one.
    pub fn response(self, request_id: Option<&str>) -> Response {
        let mut response = (self.kind.status(), self.to_value(request_id).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(self);
        response
    }

    /// The `WWW-Authenticate` challenge (RFC 6750, section 3). The `reason` and `scope` members are the host's own words
    /// and need no quoting.
    fn challenge(&self) -> Option<HeaderValue> {
        const REALM: &str = "Bearer realm=\"masque\"";
        match self.kind {
            Kind::Unauthenticated => Some(HeaderValue::from_static(REALM)),
            Kind::InvalidToken => {
                let reason = self.members.get("reason").and_then(Value::as_str).unwrap_or("invalid");
                let text = format!("{REALM}, error=\"invalid_token\", error_description=\"{reason}\"");
                HeaderValue::try_from(text).ok()
            }
            Kind::InsufficientScope => {
                let scope = self.members.get("scope").and_then(Value::as_str)?;
                let text = format!("{REALM}, error=\"insufficient_scope\", scope=\"{scope}\"");
                HeaderValue::try_from(text).ok()
            }
            _ => None,
        }
    }
}

/// An occurrence with the kind's advice as its detail.
impl From<Kind> for Problem {
    fn from(kind: Kind) -> Self {
        Self::new(kind, kind.advice())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.response(None)
    }
}

/// The value of `Retry-After`, which counts whole seconds (RFC 9110, section 10.2.3): rounded up, at least one.
fn whole_seconds(wait: Duration) -> u64 {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    seconds.max(1)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn every_429_and_503_says_when_to_try_again() {
        for kind in Kind::ALL {
            if matches!(kind.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
                let response = Problem::from(*kind).into_response();
                assert!(response.headers().contains_key(header::RETRY_AFTER), "{}", kind.name());
            }
        }
    }

    #[test]
    fn a_refused_credential_comes_with_a_challenge() {
        let cases = [
            (Problem::from(Kind::Unauthenticated), "Bearer realm=\"masque\""),
            (
                Problem::from(Kind::InvalidToken).with("reason", "expired"),
                "Bearer realm=\"masque\", error=\"invalid_token\", error_description=\"expired\"",
            ),
            (
                Problem::from(Kind::InsufficientScope).with("scope", "admin:read"),
                "Bearer realm=\"masque\", error=\"insufficient_scope\", scope=\"admin:read\"",
            ),
        ];
        for (problem, challenge) in cases {
            let response = problem.into_response();
            assert_eq!(response.headers().get(header::WWW_AUTHENTICATE).unwrap(), challenge);
        }
    }

    #[test]
    fn a_wait_is_rounded_up_and_never_zero() {
        for (wait, seconds) in [(0, 1), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (30_000, 30)] {
            assert_eq!(whole_seconds(Duration::from_millis(wait)), seconds, "{wait} ms");
        }
    }

    #[test]
    fn the_object_has_every_member_a_client_relies_on() {
        let problem = Problem::new(Kind::UnknownField, "say `message`").with("nearest", "message");
        let object = problem.to_value(Some("r-1"));
        assert_eq!(
            object,
            serde_json::json!({
                "type": "/docs/errors#unknown-field", "title": Kind::UnknownField.title(), "status": 422,
                "detail": "say `message`", "nearest": "message", "request_id": "r-1",
            })
        );
    }
}
