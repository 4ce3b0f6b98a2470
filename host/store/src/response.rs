//! Stores a response without a second copy of the reply's text.
//!
//! The response that a client got contains the text of the reply, which the store keeps as a message. A turn therefore
//! stores the response with the text taken out, and the place where it belongs.

use serde_json::Value;

/// A response whose text was taken out.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredResponse {
    /// The response; the string that equals the text is null.
    pub response: Value,
    /// The place of the text as a JSON pointer (RFC 6901). `None` if the response did not contain it.
    pub text_at: Option<String>,
}

impl StoredResponse {
    /// Takes the first string that equals `text` out of `response`.
    pub fn without_text(mut response: Value, text: &str) -> Self {
        let mut path = Vec::new();
        let text_at = take(&mut response, text, &mut path).then(|| {
            path.reverse();
            path.concat()
        });
        Self { response, text_at }
    }

    /// The whole response.
    pub fn with_text(self, text: &str) -> Value {
        let Self { mut response, text_at } = self;
        if let Some(place) = text_at.and_then(|pointer| response.pointer_mut(&pointer)) {
            *place = Value::String(text.to_owned());
        }
        response
    }
}

/// Sets the string to null and leaves its path, the last segment first.
fn take(value: &mut Value, text: &str, path: &mut Vec<String>) -> bool {
    match value {
        Value::String(found) if found == text => *value = Value::Null,
        Value::Array(items) => {
            let Some(index) = items.iter_mut().position(|item| take(item, text, path)) else { return false };
            path.push(format!("/{index}"));
        }
        Value::Object(members) => {
            let Some((name, _)) =
                members.iter_mut().find_map(|(name, member)| take(member, text, path).then_some((name, ())))
            else {
                return false;
            };
            path.push(format!("/{}", name.replace('~', "~0").replace('/', "~1")));
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::StoredResponse;

    #[test]
    fn the_text_is_taken_out_and_put_back() {
        let cases = [
            (json!({ "reply": "Hi" }), Some("/reply")),
            (json!({ "id": 1, "reply": { "role": "assistant", "content": "Hi" } }), Some("/reply/content")),
            (json!({ "a/b~c": [null, "Ho", "Hi"] }), Some("/a~1b~0c/2")),
            (json!("Hi"), Some("")),
            (json!({ "reply": "Hi there", "n": null }), None),
            (json!({}), None),
        ];
        for (response, place) in cases {
            let stored = StoredResponse::without_text(response.clone(), "Hi");
            assert_eq!(stored.text_at.as_deref(), place, "{response}");
            assert_eq!(stored.with_text("Hi"), response);
        }
    }

    #[test]
    fn one_copy_of_several_is_taken_out() {
        let response = json!({ "a": "Hi", "b": "Hi" });
        let stored = StoredResponse::without_text(response.clone(), "Hi");
        assert_eq!(stored.response, json!({ "a": null, "b": "Hi" }));
        assert_eq!(stored.with_text("Hi"), response);
    }
}
