//! Reads a character card. An error names the field that is wrong and says what to do.
//!
//! One reader reads all versions: version 3 is version 2 with additions, and version 1 has the fields of version 2 without
//! the envelope. Fields for people (`creator_notes`, `creator`, `tags`) are not read, so they never reach a prompt.

use masque_sdk::{Failure, Result};
use serde_json::{Map, Value};

/// The fields of a card that are used.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) nickname: String,
    pub(crate) description: String,
    pub(crate) personality: String,
    pub(crate) scenario: String,
    pub(crate) system_prompt: String,
    pub(crate) post_history_instructions: String,
    pub(crate) examples: String,
    pub(crate) first_message: String,
    pub(crate) alternate_greetings: Vec<String>,
    /// The card has a lorebook, which is not used.
    pub(crate) has_book: bool,
}

impl Card {
    /// Reads the setting `card`: the card itself, or its JSON text.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub(crate) fn read(setting: &Value) -> Result<Self> {
        match setting {
            Value::String(text) => Self::parse(text),
            Value::Object(card) => Self::from_object(card),
            _ => Err(Failure::invalid(
                "the setting `card` is neither a card nor its JSON text; name a file: card = { file = \"cards/elara.json\" }",
            )),
        }
    }

    /// Reads a card's JSON text.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.trim_start_matches('\u{feff}');
        match serde_json::from_str(text) {
            Ok(Value::Object(card)) => Self::from_object(&card),
            Ok(_) => Err(Failure::invalid(
                "the card is JSON but no object; export it again as a Character Card V2 or V3",
            )),
            Err(error) => Err(Failure::invalid(format!(
                "the card is not JSON ({error}); a card kept in a PNG has to be exported as JSON first"
            ))),
        }
    }

    fn from_object(card: &Map<String, Value>) -> Result<Self> {
        let spec = card.get("spec").and_then(Value::as_str);
        let data = match (spec, card.get("data")) {
            (Some("chara_card_v2" | "chara_card_v3"), Some(Value::Object(data))) => data,
            (Some("chara_card_v2" | "chara_card_v3"), _) => {
                return Err(Failure::invalid(
                    "the card's field `data` is missing or no object; the character belongs there",
                ));
            }
            (Some(other), _) => {
                return Err(Failure::invalid(format!(
                    "the card's field `spec` is `{other}`; export it as `chara_card_v2` or `chara_card_v3`"
                )));
            }
            (None, None) => card,
            (None, Some(_)) => {
                return Err(Failure::invalid(
                    "the card's field `spec` is missing; set it to `chara_card_v2` or `chara_card_v3`",
                ));
            }
        };
        let name = text(data, "name")?;
        if name.is_empty() {
            return Err(Failure::invalid(
                "the card's field `name` is missing or empty; give the character a name",
            ));
        }
        Ok(Self {
            name,
            nickname: text(data, "nickname")?,
            description: text(data, "description")?,
            personality: text(data, "personality")?,
            scenario: text(data, "scenario")?,
            system_prompt: text(data, "system_prompt")?,
            post_history_instructions: text(data, "post_history_instructions")?,
            examples: text(data, "mes_example")?,
            first_message: text(data, "first_mes")?,
            alternate_greetings: texts(data, "alternate_greetings")?,
            has_book: data.get("character_book").is_some_and(has_entries),
        })
    }

    /// Returns the name that replaces `{{char}}`.
    pub(crate) fn display_name(&self) -> &str {
        if self.nickname.is_empty() { &self.name } else { &self.nickname }
    }

    /// Splits `mes_example` into its conversations. `<START>`, in upper or lower case, begins each of them.
    pub(crate) fn example_conversations(&self) -> Vec<&str> {
        let mut blocks = Vec::new();
        let mut rest = self.examples.as_str();
        while let Some(at) = find_start(rest) {
            let (block, from) = rest.split_at(at);
            blocks.push(block);
            rest = from.get(START.len()..).unwrap_or_default();
        }
        blocks.push(rest);
        blocks.into_iter().map(str::trim).filter(|block| !block.is_empty()).collect()
    }
}

const START: &str = "<START>";

fn find_start(text: &str) -> Option<usize> {
    text.match_indices('<')
        .map(|(at, _)| at)
        .find(|at| text.get(*at..at + START.len()).is_some_and(|word| word.eq_ignore_ascii_case(START)))
}

/// Reads a text field. An absent field and null count as empty, since exporters write all three.
fn text(data: &Map<String, Value>, field: &str) -> Result<String> {
    match data.get(field) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.trim().into()),
        Some(other) => {
            Err(Failure::invalid(format!("the card's field `{field}` is {}; make it a text", kind(other))))
        }
    }
}

fn texts(data: &Map<String, Value>, field: &str) -> Result<Vec<String>> {
    let wrong =
        |what: &str| Failure::invalid(format!("the card's field `{field}` {what}; make it a list of texts"));
    match data.get(field) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(|text| text.trim().into()))
            .collect::<Option<_>>()
            .ok_or_else(|| wrong("holds something that is no text")),
        Some(other) => Err(wrong(&format!("is {}", kind(other)))),
    }
}

fn has_entries(book: &Value) -> bool {
    book.get("entries").and_then(Value::as_array).is_some_and(|entries| !entries.is_empty())
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
    fn all_three_versions_are_read() {
        let fields = json!({"name": " Ida ", "first_mes": "Hi.", "description": null});
        let table = [
            fields.clone(),
            json!({"spec": "chara_card_v2", "spec_version": "2.0", "data": fields}),
            json!({"spec": "chara_card_v3", "spec_version": "3.0", "data": fields, "later": 1}),
        ];
        let wanted = Card { name: "Ida".into(), first_message: "Hi.".into(), ..Card::default() };
        for card in table {
            assert_eq!(Card::read(&card).unwrap(), wanted);
            assert_eq!(Card::read(&Value::String(format!("\u{feff}{card}"))).unwrap(), wanted);
        }
    }

    #[test]
    fn a_malformed_card_is_refused_by_field_with_a_remedy() {
        let v2 = |data: Value| json!({"spec": "chara_card_v2", "data": data});
        let table = [
            (json!(5), "the setting `card`", "file ="),
            (json!("{\"spec\": "), "not JSON", "line 1 column 9"),
            (json!("[]"), "no object", "export it again"),
            (json!({"spec": "chara_card_v9", "data": {}}), "`spec` is `chara_card_v9`", "chara_card_v3"),
            (json!({"spec": "chara_card_v2"}), "`data` is missing", "belongs there"),
            (json!({"data": {"name": "Ida"}}), "`spec` is missing", "set it to"),
            (v2(json!({})), "`name` is missing", "give the character a name"),
            (v2(json!({"name": "  "})), "`name`", "give the character a name"),
            (v2(json!({"name": "Ida", "scenario": 3})), "`scenario` is a number", "make it a text"),
            (
                v2(json!({"name": "Ida", "alternate_greetings": "hi"})),
                "`alternate_greetings` is a text",
                "a list of texts",
            ),
            (
                v2(json!({"name": "Ida", "alternate_greetings": [1]})),
                "`alternate_greetings` holds",
                "a list of texts",
            ),
        ];
        for (card, field, remedy) in table {
            let failure = Card::read(&card).unwrap_err();
            assert_eq!(failure.code, "invalid");
            assert!(
                failure.message.contains(field) && failure.message.contains(remedy),
                "{}",
                failure.message
            );
        }
    }

    #[test]
    fn examples_are_split_at_start() {
        let table: [(&str, &[&str]); 4] = [
            ("<START>\na\n<START>\nb", &["a", "b"]),
            ("a\n<start>\nb\n<START>", &["a", "b"]),
            ("a < b <STAR", &["a < b <STAR"]),
            ("", &[]),
        ];
        for (examples, wanted) in table {
            let card = Card { examples: examples.into(), ..Card::default() };
            assert_eq!(card.example_conversations(), wanted);
        }
    }

    #[test]
    fn a_nickname_replaces_the_name() {
        let mut card = Card { name: "Idalina".into(), ..Card::default() };
        assert_eq!(card.display_name(), "Idalina");
        card.nickname = "Ida".into();
        assert_eq!(card.display_name(), "Ida");
    }
}
