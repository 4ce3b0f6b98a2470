//! The JSON body of a request: its size and time limits, and the errors that a client gets.
//!
//! An error names where it is: by line and column if the body is not JSON, by the path of the field if it is.

use std::time::Duration;

use axum::extract::{FromRef, FromRequest, OptionalFromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::header;
use http_body::Body as _;
use http_body_util::BodyExt;
use masque_problem::{Kind, Problem};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::body_text;
use crate::media_type::is_json;
use crate::nearest_name::nearest_name;
use crate::strict_json::StrictJson;

/// The limits on request bodies. The state of a router that has [`JsonBody`] handlers must provide them through
/// `FromRef`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// The largest body, in bytes.
    pub max_bytes: usize,
    /// How long a body may take to arrive completely.
    pub timeout: Duration,
}

/// A request body: one JSON object without repeated keys that deserializes to `T`, in UTF-8 and without the character
/// U+0000.
///
/// The extractor rejects a body with `UnsupportedMediaType`, `BodyTooLarge`, `BodyTimeout`, `MalformedJson`,
/// `InvalidRequest` or `UnknownField`.
#[derive(Clone, Debug)]
pub struct JsonBody<T> {
    /// The deserialized body.
    pub data: T,
    /// The JSON value as the client sent it.
    pub raw: Value,
}

impl<T> JsonBody<T> {
    /// The deserialized body without the JSON value.
    pub fn into_data(self) -> T {
        self.data
    }
}

impl<T, S> FromRequest<S> for JsonBody<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
    BodyLimits: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        parse(&read_json(request, BodyLimits::from_ref(state)).await?)
    }
}

/// `None` for a request without a body, and for the body `null`.
impl<T, S> OptionalFromRequest<S> for JsonBody<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
    BodyLimits: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        if request.body().is_end_stream() {
            return Ok(None);
        }
        let bytes = read_json(request, BodyLimits::from_ref(state)).await?;
        if body_text::text(&bytes)?.trim_ascii() == b"null" { Ok(None) } else { parse(&bytes).map(Some) }
    }
}

/// Reads a body whose `Content-Type` is JSON, within the limits.
async fn read_json(request: Request, limits: BodyLimits) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        return Err(Kind::UnsupportedMediaType.into());
    }
    body_text::check_headers(request.headers())?;
    match tokio::time::timeout(limits.timeout, read_bounded(request, limits.max_bytes)).await {
        Ok(read) => read,
        Err(_) => Err(Kind::BodyTimeout.into()),
    }
}

/// Reads the body if it has at most `limit` bytes.
///
/// Bytes over the limit are read and discarded, up to eight times the limit: a client that is still writing when the
/// connection is closed would see a reset instead of the response.
async fn read_bounded(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Kind::BodyTooLarge, format!("Send at most {limit} bytes."));
    // The client waits for `100 Continue` before it sends the body, so nothing has to be discarded.
    let awaits_continue = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    if awaits_continue && body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let discard_limit = limit.saturating_mul(8);
    let mut seen: usize = 0;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Problem::new(Kind::MalformedJson, "The body ended before it was complete."))?;
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= limit {
            whole.extend_from_slice(&data);
        } else if seen > discard_limit {
            break;
        }
    }
    if seen > limit { Err(too_large()) } else { Ok(whole.freeze()) }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<JsonBody<T>, Problem> {
    let raw = parse_value(bytes)?;
    if !raw.is_object() {
        return Err(Problem::new(Kind::InvalidRequest, "Send a JSON object."));
    }
    body_text::refuse_nul(&raw)?;
    match serde_path_to_error::deserialize(&raw) {
        Ok(data) => Ok(JsonBody { data, raw }),
        Err(error) => Err(describe_mismatch(&error.path().to_string(), &error.inner().to_string())),
    }
}

fn parse_value(bytes: &[u8]) -> Result<Value, Problem> {
    let bytes = body_text::text(bytes)?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(Kind::MalformedJson, "The body is empty; send a JSON object."));
    }
    let strict: StrictJson = serde_json::from_slice(bytes).map_err(|error| {
        if error.is_data() {
            Problem::new(Kind::InvalidRequest, format!("{}.", capitalize(&error.to_string())))
        } else {
            Problem::new(Kind::MalformedJson, format!("The body is not JSON: {error}."))
        }
    })?;
    Ok(strict.0)
}

/// The problem for a value that does not deserialize. `path` and `message` are those of serde's error.
fn describe_mismatch(path: &str, message: &str) -> Problem {
    let at = if path == "." { "" } else { path };
    if let Some((field, known)) = parse_unknown_field(message) {
        // serde's path ends in the unknown field itself, or in the object around it, depending on the deserializer.
        let field_path = if at.is_empty() {
            field.to_owned()
        } else if at.rsplit('.').next() == Some(field) {
            at.to_owned()
        } else {
            format!("{at}.{field}")
        };
        let guess = nearest_name(field, known.iter().copied());
        let detail = match guess {
            Some(guess) => format!("`{field_path}` is not known; did you mean `{guess}`?"),
            None => format!("`{field_path}` is not known; the fields are {}.", quote(&known)),
        };
        let problem = Problem::new(Kind::UnknownField, detail).with("field", field_path);
        return match guess {
            Some(guess) => problem.with("nearest", guess),
            None => problem,
        };
    }
    if at.is_empty() {
        return Problem::new(Kind::InvalidRequest, format!("{}.", capitalize(message)));
    }
    Problem::new(Kind::InvalidRequest, format!("`{at}`: {message}.")).with("field", at)
}

/// Parses serde's message "unknown field `a`, expected one of `b`, `c`" into the field and the known ones. serde offers
/// these names in no other form.
fn parse_unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (field, expected) =
        rest.rsplit_once("`, expected ").or_else(|| rest.rsplit_once("`, there are no fields"))?;
    // Split at the backticks, every second part is a name.
    Some((field, expected.split('`').skip(1).step_by(2).collect()))
}

/// The names in backticks, separated by commas.
fn quote(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn capitalize(message: &str) -> String {
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
        match parse::<Sample>(body.as_bytes()) {
            Ok(_) => panic!("{body} is accepted"),
            Err(problem) => problem,
        }
    }

    #[test]
    fn an_unknown_field_is_reported_with_the_nearest_known_one() {
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
    fn a_wrong_type_is_reported_with_its_path_and_the_expected_type() {
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
    fn malformed_json_is_reported_with_line_and_column() {
        for (body, position) in [
            ("{\n\"message\": nope}", "line 2 column 13"),
            (r#"{"message":"hi""#, "line 1 column 15"),
            (r#"{"message":"hi"} x"#, "line 1 column 18"),
            ("nonsense", "line 1 column 2"),
        ] {
            let problem = problem(body);
            assert_eq!(problem.kind, Kind::MalformedJson, "{body}");
            assert!(problem.detail.starts_with("The body is not JSON: "), "{}", problem.detail);
            assert!(problem.detail.ends_with(&format!("{position}.")), "{}", problem.detail);
        }
    }

    #[test]
    fn a_repeated_key_is_refused_at_any_depth() {
        for body in
            [r#"{"message":"a","message":"b"}"#, r#"{"message":"a","inner":{"title":"a","title":"b"}}"#]
        {
            let problem = problem(body);
            assert_eq!(problem.kind, Kind::InvalidRequest, "{body}");
            assert!(problem.detail.contains("twice"), "{}", problem.detail);
        }
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        for body in [r#"["hi"]"#, r#""hi""#, "null", "5"] {
            assert_eq!(problem(body).kind, Kind::InvalidRequest, "{body}");
        }
        for body in ["", " \n"] {
            assert_eq!(problem(body).kind, Kind::MalformedJson, "{body:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_before_the_json_is_passed_over() {
        assert!(parse::<Sample>("\u{feff}{\"message\":\"hi\"}".as_bytes()).is_ok());
        assert_eq!(problem("\u{feff}").kind, Kind::MalformedJson);
    }

    #[test]
    fn text_with_the_character_zero_is_refused_with_its_path() {
        let problem = problem(r#"{"message":"hi","inner":{"title":"a\u0000b"}}"#);
        assert_eq!(problem.kind, Kind::InvalidRequest);
        assert_eq!(problem.members.get("field").and_then(Value::as_str), Some("inner.title"));
    }

    #[test]
    fn endless_nesting_is_refused() {
        let body = format!("{{\"message\":{}", "[".repeat(100_000));
        assert_eq!(problem(&body).kind, Kind::MalformedJson);
    }
}
