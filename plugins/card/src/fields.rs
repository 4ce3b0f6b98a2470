//! Reads the fields of a card leniently: under their older names, at the top of the card and in `data`, and with values of
//! another type than the specification's. What can't be used is passed over and noted.

use serde_json::{Map, Value};
use std::borrow::Cow;

/// A field: its name, then the names that older formats and other programs use.
pub(crate) type Names = &'static [&'static str];

/// The most notes. More would say nothing new.
const MAX_NOTES: usize = 40;

/// Notes on what is not used, for the operator.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Notes(Vec<String>);

impl Notes {
    /// Adds a note unless it is there.
    pub(crate) fn add(&mut self, note: String) {
        if self.0.len() < MAX_NOTES && !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// The objects of a card in which its fields are looked up, the preferred one first.
pub(crate) struct Fields<'a> {
    objects: Vec<&'a Map<String, Value>>,
    known: Vec<Names>,
    pub(crate) notes: Notes,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(objects: Vec<&'a Map<String, Value>>) -> Self {
        Self { objects, known: Vec::new(), notes: Notes::default() }
    }

    /// A text field, without the white space around it. A number counts as its text, a list of texts as lines. The first
    /// value that is not blank counts; without one the field is empty.
    pub(crate) fn text(&mut self, names: Names) -> String {
        self.known.push(names);
        for (name, value) in values(&self.objects, names) {
            match text(value) {
                Some(text) if text.trim().is_empty() => {}
                Some(text) => return text.trim().into(),
                None => self.notes.add(format!("`{name}` is {}, not a text", kind(value))),
            }
        }
        String::new()
    }

    /// A list of texts; a map, such as `{"0": …}`, counts as the list of its values. Blank texts are left out.
    pub(crate) fn texts(&mut self, names: Names) -> Vec<String> {
        self.known.push(names);
        for (name, value) in values(&self.objects, names) {
            let items: Vec<&Value> = match value {
                Value::Null => continue,
                Value::Array(items) => items.iter().collect(),
                Value::Object(items) => items.values().collect(),
                other => {
                    self.notes.add(format!("`{name}` is {}, not a list of texts", kind(other)));
                    continue;
                }
            };
            let mut texts = Vec::new();
            for item in items {
                match text(item) {
                    Some(text) if text.trim().is_empty() => {}
                    Some(text) => texts.push(text.trim().into()),
                    None => self.notes.add(format!("`{name}` holds {}, not only texts", kind(item))),
                }
            }
            if !texts.is_empty() {
                return texts;
            }
        }
        Vec::new()
    }

    /// Marks fields that are read elsewhere, or that are about the card and not about the character.
    pub(crate) fn ignore(&mut self, names: Names) {
        self.known.push(names);
    }

    /// The value of a field that is not blank.
    pub(crate) fn value(&mut self, names: Names) -> Option<&'a Value> {
        self.known.push(names);
        values(&self.objects, names).map(|(_, value)| value).find(|value| !is_blank(value))
    }

    /// The fields that nobody has asked for and that are not blank.
    pub(crate) fn unused(&self) -> Vec<&'a str> {
        let fields = self.objects.iter().flat_map(|object| object.iter());
        let is_known = |name: &str| self.known.iter().any(|names| names.contains(&name));
        let unused = fields.filter(|(name, value)| !is_blank(value) && !is_known(name));
        unused.map(|(name, _)| name.as_str()).collect()
    }
}

/// The values of a field, in the order in which they count.
fn values<'o, 'a>(
    objects: &'o [&'a Map<String, Value>],
    names: Names,
) -> impl Iterator<Item = (&'static str, &'a Value)> + use<'o, 'a> {
    objects.iter().flat_map(|object| names.iter().filter_map(move |name| Some((*name, object.get(*name)?))))
}

/// A value that can be read as text; null is an empty one.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => Some("".into()),
        Value::String(text) => Some(text.into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Array(lines) => {
            let lines: Option<Vec<_>> = lines.iter().map(|line| line.as_str()).collect();
            lines.map(|lines| lines.join("\n").into())
        }
        Value::Bool(_) | Value::Object(_) => None,
    }
}

/// Whether a value holds nothing that one could miss. Exporters write many fields without content.
pub(crate) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.iter().all(is_blank),
        Value::Object(fields) => fields.values().all(is_blank),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_of_any_type_is_read_or_passed_over_with_a_note() {
        let table = [
            (json!({"a": " x "}), "x", 0),
            (json!({"a": null, "b": "y"}), "y", 0),
            (json!({"a": "  ", "b": "y"}), "y", 0),
            (json!({"a": 7}), "7", 0),
            (json!({"a": ["one", "two"]}), "one\ntwo", 0),
            (json!({"a": ["one", 2]}), "", 1),
            (json!({"a": {"x": 1}, "b": "y"}), "y", 1),
            (json!({"a": true}), "", 1),
            (json!({}), "", 0),
        ];
        for (object, wanted, notes) in table {
            let mut fields = Fields::new(vec![object.as_object().unwrap()]);
            assert_eq!(fields.text(&["a", "b"]), wanted, "{object}");
            assert_eq!(fields.notes.0.len(), notes, "{object}");
        }
    }

    #[test]
    fn a_list_of_any_type_is_read_or_passed_over_with_a_note() {
        let table = [
            (json!(["x", null, " ", "y"]), vec!["x", "y"], 0),
            (json!({"0": "x", "1": "y"}), vec!["x", "y"], 0),
            (json!(["x", {"text": "y"}, false]), vec!["x"], 2),
            (json!("x"), vec![], 1),
            (json!(5), vec![], 1),
            (json!(null), vec![], 0),
        ];
        for (list, wanted, notes) in table {
            let object = json!({ "a": list });
            let mut fields = Fields::new(vec![object.as_object().unwrap()]);
            assert_eq!(fields.texts(&["a"]), wanted, "{object}");
            assert_eq!(fields.notes.0.len(), notes, "{object}");
        }
    }

    #[test]
    fn fields_that_nobody_asks_for_are_named_unless_they_are_blank() {
        let object = json!({"a": 1, "b": [], "c": {"d": ""}, "e": "x", "f": 0});
        let mut fields = Fields::new(vec![object.as_object().unwrap()]);
        fields.text(&["a"]);
        assert_eq!(fields.unused(), ["e"]);
    }
}
