//! The names of HTTP methods. A plugin can make up a method, which is text of its own and is shown nowhere.

use http::Method;

/// The methods of RFC 9110 and RFC 5789.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// The name of a method that HTTP has; `None` for any other.
pub(crate) fn method_name(method: &Method) -> Option<&'static str> {
    METHODS.into_iter().find(|known| *known == method.as_str())
}
