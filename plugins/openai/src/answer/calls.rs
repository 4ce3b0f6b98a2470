//! Puts tool calls together from their pieces.
//!
//! Servers number the calls, or give every one the number 0, or none; they name a call once, in pieces, or in every
//! piece; the arguments are a text in pieces, a whole text, or an object. A piece belongs to the call with its id, else to
//! the newest one with its number, unless that one is certainly another.

use masque_sdk::{Delta, Failure, Result, ToolCall};
use serde_json::{Map, Value};

/// The largest number of tool calls in a reply. More are a fault of the model.
const MAX_CALLS: usize = 128;
/// The largest size of one tool call, in bytes. The host bounds the reply as a whole.
const MAX_CALL_BYTES: usize = 256 * 1024;

/// The calls so far, in the order of their beginning.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
}

#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
struct Call {
    /// The choice and the number in it, if the server gave one.
    choice: u64,
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// One piece of a call.
struct Piece {
    choice: u64,
    index: Option<u64>,
    /// Its place among several pieces of a frame. `None` for one alone.
    position: Option<usize>,
    id: String,
    name: String,
    arguments: String,
    /// The arguments are whole: they replace what there is.
    is_whole: bool,
    /// Its place in a whole message, which may repeat the calls of the deltas.
    repeats: Option<usize>,
}

impl Calls {
    /// Reads the calls of a delta, or of a whole message, of this choice.
    ///
    /// # Errors
    /// The calls are too many or too long.
    pub(super) fn read(&mut self, choice: u64, message: &Map<String, Value>, is_whole: bool) -> Result<()> {
        let listed: Vec<_> = match message.get("tool_calls") {
            Some(Value::Array(calls)) => calls.iter().collect(),
            // A single call, or a map of them by their numbers.
            Some(Value::Object(call)) if call.contains_key("function") || call.contains_key("name") => {
                message.get("tool_calls").into_iter().collect()
            }
            Some(Value::Object(calls)) => calls.values().collect(),
            _ => Vec::new(),
        };
        // The form before tools.
        let legacy = message.get("function_call").filter(|call| call.is_object());
        let has_several = listed.len() > 1;
        for (position, value) in listed.into_iter().chain(legacy).enumerate() {
            if let Some(call) = value.as_object() {
                let mut piece = piece(choice, has_several.then_some(position), call, is_whole);
                piece.repeats = is_whole.then_some(position);
                self.add(piece)?;
            }
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The whole calls, each text of them through `finish`. The result of a tool refers to the id of the call, which a few
    /// servers leave out.
    pub(super) fn into_deltas(self, finish: impl Fn(String) -> String) -> impl Iterator<Item = Delta> {
        self.calls.into_iter().enumerate().map(move |(number, call)| {
            let id = if call.id.is_empty() { format!("call-{number}") } else { call.id };
            Delta::ToolCall(ToolCall::new(finish(id), finish(call.name), finish(call.arguments)))
        })
    }

    fn add(&mut self, piece: Piece) -> Result<()> {
        let at = match self.find(&piece) {
            Some(at) => at,
            None if piece.id.is_empty() && piece.name.is_empty() && piece.arguments.is_empty() => {
                return Ok(());
            }
            None => {
                self.calls.push(Call { choice: piece.choice, index: piece.index, ..Call::default() });
                self.calls.len() - 1
            }
        };
        let Some(call) = self.calls.get_mut(at) else { return Ok(()) };
        // A few servers send another id with every piece: the first one counts.
        if call.id.is_empty() {
            call.id = piece.id;
        }
        add_name(&mut call.name, &piece.name, piece.is_whole);
        // An empty object before the pieces of a text stands for no arguments yet.
        let has_begun = call.arguments != "{}" || !piece.arguments.trim_start().starts_with('{');
        if (piece.is_whole || !has_begun) && !piece.arguments.is_empty() {
            call.arguments = piece.arguments;
        } else {
            call.arguments.push_str(&piece.arguments);
        }
        let is_too_long = call.name.len() + call.arguments.len() > MAX_CALL_BYTES;
        if is_too_long || self.calls.len() > MAX_CALLS {
            return Err(Failure::unavailable("the model's tool calls are too many or too long"));
        }
        Ok(())
    }

    /// The call that the piece continues. `None` if it begins one.
    fn find(&self, piece: &Piece) -> Option<usize> {
        if !piece.id.is_empty()
            && let Some(at) = self.calls.iter().position(|call| call.id == piece.id)
        {
            return Some(at);
        }
        let own = || self.calls.iter().enumerate().filter(|(_, call)| call.choice == piece.choice);
        if let Some((at, call)) = piece.repeats.and_then(|place| own().nth(place))
            && call.name == piece.name
            && call.arguments == piece.arguments
        {
            return Some(at);
        }
        let (at, call) = match piece.index {
            Some(index) => own().rev().find(|(_, call)| call.index == Some(index))?,
            // Pieces without number and name continue the calls in their order; one alone continues the newest.
            None => match piece.position.filter(|_| piece.name.is_empty()) {
                Some(position) => own().nth(position)?,
                None => own().next_back()?,
            },
        };
        (!piece.begins_after(call)).then_some(at)
    }
}

impl Piece {
    /// Whether the piece begins a new call although its number, or the lack of one, names this one.
    fn begins_after(&self, call: &Call) -> bool {
        let is_closed = || serde_json::from_str::<serde::de::IgnoredAny>(&call.arguments).is_ok();
        if !self.id.is_empty() && !call.id.is_empty() {
            // A piece without a name that has the call's own number goes on with it, though its id is another one.
            let goes_on =
                self.index.is_some() && self.name.is_empty() && (self.arguments.is_empty() || !is_closed());
            return self.id != call.id && !goes_on;
        }
        if self.name.is_empty() || call.name.is_empty() {
            return false;
        }
        // The name again with an open call is a repetition. With a closed one it is a further call, if it says anything.
        if is_closed() {
            !self.arguments.is_empty()
        } else {
            self.name != call.name && !call.arguments.is_empty()
        }
    }
}

fn piece(choice: u64, position: Option<usize>, call: &Map<String, Value>, is_whole: bool) -> Piece {
    let function = call.get("function").and_then(Value::as_object).unwrap_or(call);
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let (arguments, is_object) = match function.get("arguments") {
        None | Some(Value::Null) => (String::new(), false),
        Some(Value::String(text)) => (text.clone(), false),
        Some(other) => (other.to_string(), true),
    };
    Piece {
        choice,
        index: call.get("index").and_then(number),
        position,
        id: text(call.get("id")),
        name: text(function.get("name")),
        arguments,
        is_whole: is_whole || is_object,
        repeats: None,
    }
}

/// A number of any form. `None` for null and for what is no number.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        // The cast saturates.
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().map(|number| number as u64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Adds a piece of a name. Servers repeat the name with every piece, or send more of it each time.
fn add_name(name: &mut String, piece: &str, is_whole: bool) {
    if is_whole && !piece.is_empty() || piece.starts_with(name.as_str()) {
        *name = piece.to_owned();
    } else if !piece.is_empty() {
        name.push_str(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The calls of deltas, as `id name arguments`.
    fn calls(deltas: &[Value]) -> Vec<String> {
        let mut calls = Calls::default();
        for delta in deltas {
            calls.read(0, json!({"tool_calls": delta}).as_object().unwrap(), false).unwrap();
        }
        calls
            .into_deltas(|text| text)
            .map(|delta| match delta {
                Delta::ToolCall(call) => format!("{} {} {}", call.id, call.name, call.arguments),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn call(index: Value, id: Value, name: Value, arguments: Value) -> Value {
        json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
    }

    #[test]
    fn every_way_to_number_and_to_name_calls_gives_the_same_calls() {
        let (none, zero, one) = (json!(null), json!(0), json!(1));
        let text = |text: &str| json!(text);
        let wanted = ["c1 tide {\"at\":1}", "c2 wind {\"at\":2}"];
        let head = |index: &Value, id: &str, name: &str| call(index.clone(), text(id), text(name), text(""));
        let tail = |index: &Value, piece: &str| call(index.clone(), none.clone(), none.clone(), text(piece));
        let whole = |index: &Value, id: &str, name: &str, n: u64| {
            call(index.clone(), text(id), text(name), text(&format!("{{\"at\":{n}}}")))
        };
        let table = [
            (
                "numbered",
                vec![
                    json!([head(&zero, "c1", "tide")]),
                    json!([tail(&zero, "{\"at\"")]),
                    json!([tail(&zero, ":1}")]),
                    json!([head(&one, "c2", "wind")]),
                    json!([tail(&one, "{\"at\":2}")]),
                ],
            ),
            (
                "mixed",
                vec![
                    json!([head(&zero, "c1", "tide"), head(&one, "c2", "wind")]),
                    json!([tail(&one, "{\"at\":2}"), tail(&zero, "{\"at\":1}")]),
                ],
            ),
            (
                "one number",
                vec![json!([whole(&zero, "c1", "tide", 1)]), json!([whole(&zero, "c2", "wind", 2)])],
            ),
            (
                "one number, in pieces",
                vec![
                    json!([head(&zero, "c1", "tide")]),
                    json!([tail(&zero, "{\"at\":1}")]),
                    json!([head(&zero, "c2", "wind")]),
                    json!([tail(&zero, "{\"at\":2}")]),
                ],
            ),
            ("no number", vec![json!([whole(&none, "c1", "tide", 1), whole(&none, "c2", "wind", 2)])]),
            (
                "no number, in pieces",
                vec![
                    json!([head(&none, "c1", "tide")]),
                    json!([tail(&none, "{\"at\":1}")]),
                    json!([head(&none, "c2", "wind")]),
                    json!([tail(&none, "{\"at\":2}")]),
                ],
            ),
            (
                "no number, pieces together",
                vec![
                    json!([head(&none, "c1", "tide"), head(&none, "c2", "wind")]),
                    json!([tail(&none, "{\"at\":1}"), tail(&none, "{\"at\":2}")]),
                ],
            ),
            (
                "repeated names",
                vec![
                    json!([call(zero.clone(), text("c1"), text("tide"), text("{\"at\""))]),
                    json!([call(zero.clone(), text("c1"), text("tide"), text(":1}"))]),
                    json!([call(one.clone(), text("c2"), text("wind"), text("{\"at\""))]),
                    json!([call(one.clone(), none.clone(), text("wind"), text(":2}"))]),
                    json!([call(one.clone(), none.clone(), text("wind"), text(""))]),
                ],
            ),
            (
                "names in pieces",
                vec![
                    json!([head(&zero, "c1", "ti")]),
                    json!([call(zero.clone(), none.clone(), text("de"), text("{\"at\":1}"))]),
                    json!([head(&one, "c2", "wi")]),
                    json!([call(one.clone(), none.clone(), text("wind"), text("{\"at\":2}"))]),
                ],
            ),
            (
                "objects",
                vec![
                    json!([call(zero.clone(), text("c1"), text("tide"), json!({"at": 1}))]),
                    json!([call(zero.clone(), text("c2"), text("wind"), json!({"at": 2}))]),
                ],
            ),
            (
                "texts as numbers",
                vec![
                    json!([whole(&text("0"), "c1", "tide", 1)]),
                    json!([whole(&json!(1.0), "c2", "wind", 2)]),
                ],
            ),
            (
                "another id with every piece",
                vec![
                    json!([head(&zero, "c1", "tide")]),
                    json!([call(zero.clone(), text("x1"), none.clone(), text("{\"at\""))]),
                    json!([call(zero.clone(), text("x2"), none.clone(), text(":1}"))]),
                    json!([call(zero.clone(), text("x3"), none.clone(), text(""))]),
                    json!([whole(&one, "c2", "wind", 2)]),
                ],
            ),
            (
                "an empty object first",
                vec![
                    json!([call(zero.clone(), text("c1"), text("tide"), json!({}))]),
                    json!([tail(&zero, "{\"at\"")]),
                    json!([tail(&zero, ":1}")]),
                    json!([whole(&one, "c2", "wind", 2)]),
                ],
            ),
            ("a map", vec![json!({"0": whole(&none, "c1", "tide", 1), "1": whole(&none, "c2", "wind", 2)})]),
        ];
        for (name, deltas) in table {
            assert_eq!(calls(&deltas), wanted, "{name}");
        }
    }

    #[test]
    fn calls_without_ids_get_them_and_the_same_tool_may_be_called_twice() {
        let zero = |n: u64| call(json!(0), json!(null), json!("tide"), json!(format!("{{\"at\":{n}}}")));
        assert_eq!(
            calls(&[json!([zero(1)]), json!([zero(2)])]),
            ["call-0 tide {\"at\":1}", "call-1 tide {\"at\":2}"]
        );
    }

    #[test]
    fn a_whole_message_repeats_the_calls_of_its_deltas() {
        for (id, wanted) in [(json!("c1"), "c1"), (json!(null), "call-0")] {
            let mut calls = Calls::default();
            let message = json!({"tool_calls": [call(json!(null), id, json!("tide"), json!("{}"))]});
            calls.read(0, message.as_object().unwrap(), false).unwrap();
            calls.read(0, message.as_object().unwrap(), true).unwrap();
            assert_eq!(
                calls.into_deltas(|text| text).collect::<Vec<_>>(),
                [Delta::ToolCall(ToolCall::new(wanted, "tide", "{}"))]
            );
        }
    }
}
