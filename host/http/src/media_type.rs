//! The media type of request bodies.

use http::{HeaderMap, header};

/// Whether `Content-Type` is `application/json`, ignoring parameters such as `charset`.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value.split_once(';').map_or(value, |(essence, _)| essence);
    essence.trim().eq_ignore_ascii_case("application/json")
}
