//! The media type of request bodies.

use http::{HeaderMap, header};

/// Whether the one `Content-Type` is `application/json`, ignoring parameters such as `charset`.
///
/// Several are refused, also if all are equal: a proxy may have judged the request by another one.
pub fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let essence = value.split_once(';').map_or(value, |(essence, _)| essence);
    essence.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn json_is_named_once() {
        for (values, expected) in [
            (&["application/json"][..], true),
            (&["Application/JSON; charset=utf-8"], true),
            (&[], false),
            (&["text/plain"], false),
            (&["application/json", "text/plain"], false),
            (&["text/plain", "application/json"], false),
            (&["application/json", "application/json"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_TYPE, HeaderValue::from_static(value));
            }
            assert_eq!(is_json(&headers), expected, "{values:?}");
        }
    }
}
