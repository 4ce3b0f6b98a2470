//! The body of a request: how much of it is read, for how long, and what a client is told when it does not fit.
//!
//! Everything wrong with a body is told with its place: line and column while it is not JSON, the path of the field
//! once it is.

use axum::extract::{FromRequest, OptionalFromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::header;
use http_body::Body as _;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::state::App;
use crate::auth::guard;
use crate::config::nearest;
use crate::problem::{Kind, Problem};
use crate::strict::Strict;

/// A body that was JSON and had the shape of `T`.
pub(crate) struct JsonBody<T> {
    pub(crate) data: T,
    /// As it was sent.
    pub(crate) raw: Value,
}

impl<T> JsonBody<T> {
    /// What it says, without the tree that it was read from.
    pub(crate) fn into_data(self) -> T {
        self.data
    }
}

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        parse(&whole(request, app).await?)
    }
}

/// A request without a body has none, and so has one whose body is `null`.
impl<T: DeserializeOwned> OptionalFromRequest<App> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Option<Self>, Problem> {
        if request.body().is_end_stream() {
            return Ok(None);
        }
        let bytes = whole(request, app).await?;
        if bytes.trim_ascii() == b"null" { Ok(None) } else { parse(&bytes).map(Some) }
    }
}

/// A body that is JSON by its own account, within the host's limits.
async fn whole(request: Request, app: &App) -> Result<Bytes, Problem> {
    if !guard::is_json(request.headers()) {
        return Err(Kind::UnsupportedMediaType.into());
    }
    let server = &app.config.server;
    match tokio::time::timeout(server.body_timeout, read(request, server.max_body_bytes)).await {
        Ok(read) => read,
        Err(_) => Err(Kind::BodyTimeout.into()),
    }
}

/// The whole body, if it has at most `limit` bytes.
///
/// What is over the limit is read and thrown away, up to a bound: a client that still writes while the connection is
/// closed would see a reset in place of the answer.
async fn read(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Kind::BodyTooLarge, format!("Send at most {limit} bytes."));
    let waits = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    if waits && body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let patience = limit.saturating_mul(8);
    let mut seen: usize = 0;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Problem::new(Kind::MalformedJson, "The body ended before it was complete."))?;
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= limit {
            whole.extend_from_slice(&data);
        } else if seen > patience {
            break;
        }
    }
    if seen > limit { Err(too_large()) } else { Ok(whole.freeze()) }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<JsonBody<T>, Problem> {
    let raw = value(bytes)?;
    if !raw.is_object() {
        return Err(Problem::new(Kind::InvalidRequest, "Send a JSON object."));
    }
    match serde_path_to_error::deserialize(&raw) {
        Ok(data) => Ok(JsonBody { data, raw }),
        Err(error) => Err(mismatch(&error.path().to_string(), &error.inner().to_string())),
    }
}

fn value(bytes: &[u8]) -> Result<Value, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(Kind::MalformedJson, "The body is empty; send a JSON object."));
    }
    let strict: Strict = serde_json::from_slice(bytes).map_err(|error| {
        let kind = if error.is_data() { Kind::InvalidRequest } else { Kind::MalformedJson };
        Problem::new(kind, format!("{}.", capitalised(&error.to_string())))
    })?;
    Ok(strict.0)
}

/// What serde says about a value that has another shape, as a problem. `path` is where it looked.
fn mismatch(path: &str, message: &str) -> Problem {
    let at = if path == "." { "" } else { path };
    if let Some((field, known)) = unknown_field(message) {
        // serde's path ends in the unknown field itself, or in the object around it, depending on how it was read.
        let place = if at.is_empty() {
            field.to_owned()
        } else if at.rsplit('.').next() == Some(field) {
            at.to_owned()
        } else {
            format!("{at}.{field}")
        };
        let guess = nearest(field, known.iter().copied());
        let detail = match guess {
            Some(guess) => format!("`{place}` is not known; did you mean `{guess}`?"),
            None => format!("`{place}` is not known; the fields are {}.", ticked(&known)),
        };
        let problem = Problem::new(Kind::UnknownField, detail).with("field", place);
        return match guess {
            Some(guess) => problem.with("nearest", guess),
            None => problem,
        };
    }
    if at.is_empty() {
        return Problem::new(Kind::InvalidRequest, format!("{}.", capitalised(message)));
    }
    Problem::new(Kind::InvalidRequest, format!("`{at}`: {message}.")).with("field", at)
}

/// Takes serde's "unknown field `a`, expected one of `b`, `c`" apart; serde has no other form of it.
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (field, expected) =
        rest.rsplit_once("`, expected ").or_else(|| rest.rsplit_once("`, there are no fields"))?;
    // Between backticks, every second piece is a name.
    Some((field, expected.split('`').skip(1).step_by(2).collect()))
}

fn ticked(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn capitalised(message: &str) -> String {
    let mut characters = message.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(rename = "message")]
        _message: String,
        #[serde(rename = "stream")]
        _stream: Option<bool>,
        #[serde(rename = "inner")]
        _inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "title")]
        _title: String,
        #[serde(rename = "count")]
        _count: Option<u32>,
    }

    fn problem(body: &str) -> Problem {
        parse::<Sample>(body.as_bytes()).err().expect(body)
    }

    #[test]
    fn an_unknown_field_is_told_with_the_nearest_known_one() {
        let cases = [
            (r#"{"mesage":"hi"}"#, "mesage", Some("message")),
            (r#"{"message":"hi","steam":true}"#, "steam", Some("stream")),
            (r#"{"message":"hi","qqq":1}"#, "qqq", None),
            (r#"{"message":"hi","inner":{"titel":"x"}}"#, "inner.titel", Some("title")),
            (r#"{"message":"hi","a`b":1}"#, "a`b", None),
        ];
        for (body, field, nearest) in cases {
            let problem = problem(body);
            assert_eq!(problem.kind, Kind::UnknownField, "{body}");
            assert_eq!(problem.members.get("field").and_then(Value::as_str), Some(field), "{body}");
            assert_eq!(problem.members.get("nearest").and_then(Value::as_str), nearest, "{body}");
        }
    }

    #[test]
    fn a_wrong_type_is_told_with_its_path_and_what_was_expected() {
        let cases = [
            (r#"{"message":5}"#, "message", "a string"),
            (r#"{"message":null}"#, "message", "a string"),
            (r#"{"message":"hi","stream":"yes"}"#, "stream", "a boolean"),
            (r#"{"message":"hi","inner":{"title":"x","count":-1}}"#, "inner.count", "u32"),
        ];
        for (body, field, expected) in cases {
            let problem = problem(body);
            assert_eq!(problem.kind, Kind::InvalidRequest, "{body}");
            assert_eq!(problem.members.get("field").and_then(Value::as_str), Some(field), "{body}");
            assert!(problem.detail.contains(expected), "{}", problem.detail);
        }
    }

    #[test]
    fn a_missing_field_is_named() {
        assert_eq!(problem("{}").detail, "Missing field `message`.");
    }

    #[test]
    fn what_is_not_json_is_told_with_line_and_column() {
        for (body, place) in [
            ("{\n\"message\": nope}", "line 2 column 13"),
            (r#"{"message":"hi""#, "line 1 column 15"),
            (r#"{"message":"hi"} x"#, "line 1 column 18"),
        ] {
            let problem = problem(body);
            assert_eq!(problem.kind, Kind::MalformedJson, "{body}");
            assert!(problem.detail.contains(place), "{}", problem.detail);
        }
    }

    #[test]
    fn a_key_that_comes_twice_is_refused_at_any_depth() {
        for body in
            [r#"{"message":"a","message":"b"}"#, r#"{"message":"a","inner":{"title":"a","title":"b"}}"#]
        {
            let problem = problem(body);
            assert_eq!(problem.kind, Kind::InvalidRequest, "{body}");
            assert!(problem.detail.contains("twice"), "{}", problem.detail);
        }
    }

    #[test]
    fn only_an_object_is_a_request() {
        for body in [r#"["hi"]"#, r#""hi""#, "null", "5"] {
            assert_eq!(problem(body).kind, Kind::InvalidRequest, "{body}");
        }
        for body in ["", " \n"] {
            assert_eq!(problem(body).kind, Kind::MalformedJson, "{body:?}");
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let body = format!("{{\"message\":{}", "[".repeat(100_000));
        assert_eq!(problem(&body).kind, Kind::MalformedJson);
    }
}
