//! Checks problem objects (RFC 9457), which responses and event streams have in common.

use serde_json::Value;

/// Panics unless the problem is of this kind and has all its texts.
pub(crate) fn check_problem(problem: &Value, kind: &str) {
    let text = |field: &str| problem[field].as_str().unwrap_or_else(|| panic!("no {field} in {problem}"));
    assert_eq!(text("type").rsplit(['#', '/']).next(), Some(kind), "{problem}");
    assert!(
        !text("title").is_empty() && !text("detail").is_empty() && !text("request_id").is_empty(),
        "{problem}"
    );
}
