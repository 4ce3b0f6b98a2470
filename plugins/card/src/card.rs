//! Reads a character card. An error names what is wrong and says what to do.
//!
//! One reader reads all versions: version 3 is version 2 with additions, version 1 has the fields of version 2 without the
//! envelope, and older formats have other names for them. A card plays if it has a name; whatever is not used is noted.
//! Fields for people (`creator_notes`, `creator`, `tags`) are not read, so they never reach a prompt.

use crate::data_url::DataUrl;
use crate::fields::{Fields, Names, is_blank};
use crate::json;
use crate::png::Png;
use serde_json::{Map, Value};

/// The longest name, in characters. It is inserted wherever the card says `{{char}}`.
const MAX_NAME: usize = 200;

const NAME: Names = &["name", "char_name"];
const NICKNAME: Names = &["nickname"];
const DESCRIPTION: Names = &["description", "char_persona", "context", "desc"];
const PERSONALITY: Names = &["personality"];
const SCENARIO: Names = &["scenario", "world_scenario"];
const SYSTEM_PROMPT: Names = &["system_prompt", "systemPrompt"];
const POST_HISTORY: Names = &["post_history_instructions", "postHistoryInstructions"];
const EXAMPLES: Names = &["mes_example", "example_dialogue", "exampleMessage"];
const FIRST_MESSAGE: Names = &["first_mes", "char_greeting", "greeting", "firstMessage"];
const GREETINGS: Names = &["alternate_greetings", "alternateGreetings"];
const USER_NAME: Names = &["user_name", "your_name"];
/// For people, or for programs that keep and show cards.
const ABOUT_THE_CARD: Names = &[
    "spec",
    "spec_version",
    "data",
    "extensions",
    "creator_notes",
    "creatorcomment",
    "creator_notes_multilingual",
    "creator",
    "character_version",
    "creation_date",
    "modification_date",
    "create_date",
    "source",
    "tags",
    "avatar",
    "chat",
    "metadata",
    "talkativeness",
    "fav",
    "id",
];

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
    /// What the card calls a user whose name is not known.
    pub(crate) user_name: String,
    /// What of the card is not used, each in words.
    pub(crate) notes: Vec<String>,
}

impl Card {
    /// Reads the setting `card`: the card itself, its JSON text, or a PNG that holds it.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub(crate) fn read(setting: &Value) -> Result<Self, String> {
        match setting {
            Value::String(text) => match DataUrl::parse(text) {
                Some(file) => Self::from_file(file),
                None => Self::parse(text),
            },
            Value::Object(card) => Self::from_object(card),
            _ => Err(
                "the setting is neither a card nor its JSON text; name a file: card = { file = \"cards/elara.json\" }".into(),
            ),
        }
    }

    /// Reads a card's JSON text.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match json::parse(text) {
            Ok(Value::Object(card)) => Self::from_object(&card),
            Ok(_) => {
                Err("the card is JSON but no object; export it again as a Character Card V2 or V3".into())
            }
            Err(error) => Err(not_json(text, &error)),
        }
    }

    fn from_file(file: DataUrl<'_>) -> Result<Self, String> {
        if file.media_type != "image/png" {
            let kind = file.media_type;
            return Err(format!(
                "the card is a file of the type `{kind}`; a card is read from JSON or from a PNG, so export it as one of them"
            ));
        }
        let (mut card, errors) = Png::open(file.bytes)?.first(Self::parse)?;
        card.notes.extend(errors);
        Ok(card)
    }

    fn from_object(card: &Map<String, Value>) -> Result<Self, String> {
        let spec = card.get("spec").and_then(Value::as_str);
        let data = card.get("data").and_then(Value::as_object);
        let is_known = matches!(spec, None | Some("chara_card_v2" | "chara_card_v3"));
        // Several programs write the fields of version 1 next to `data`, for older readers.
        let mut fields = Fields::new(data.into_iter().chain([card]).collect());
        let name = fields.text(NAME);
        if name.is_empty() {
            return Err(match (spec, data) {
                (Some(spec), _) if !is_known => format!(
                    "the card's field `spec` is `{}`; export it as `chara_card_v2` or `chara_card_v3`",
                    clip(spec, 40)
                ),
                (Some(_), None) => {
                    "the card's field `data` is missing or no object; the character belongs there".into()
                }
                _ => "the card's field `name` is missing or empty; give the character a name".into(),
            });
        }
        if let (false, Some(spec)) = (is_known, spec) {
            let spec = clip(spec, 40);
            fields.notes.add(format!("`spec` is `{spec}`, so it is read as version 3"));
        }
        if name.chars().count() > MAX_NAME {
            fields.notes.add(format!("`name` is longer than {MAX_NAME} characters and is cut"));
        }
        let mut read = Self {
            name: clip(&name, MAX_NAME),
            nickname: clip(&fields.text(NICKNAME), MAX_NAME),
            description: fields.text(DESCRIPTION),
            personality: fields.text(PERSONALITY),
            scenario: fields.text(SCENARIO),
            system_prompt: fields.text(SYSTEM_PROMPT),
            post_history_instructions: fields.text(POST_HISTORY),
            examples: fields.text(EXAMPLES),
            first_message: fields.text(FIRST_MESSAGE),
            alternate_greetings: fields.texts(GREETINGS),
            user_name: clip(&fields.text(USER_NAME), MAX_NAME),
            notes: Vec::new(),
        };
        note_unused(&mut fields);
        read.notes = fields.notes.into_vec();
        Ok(read)
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

/// Says what a text is that is no JSON.
fn not_json(text: &str, error: &serde_json::Error) -> String {
    let text = text.trim_start_matches('\u{feff}').trim();
    let head = text.get(..text.floor_char_boundary(8)).unwrap_or_default();
    if text.is_empty() {
        "the card is empty; export it again".into()
    } else if head.contains("PNG\r") || head.contains("PNG\n") {
        // The first byte of a PNG is no text, so it was replaced or removed.
        "the card is a PNG that was damaged when it was sent or saved as text; download the original file again".into()
    } else if head.contains('\0') {
        "the card is a text in UTF-16, or no text; save it as UTF-8".into()
    } else if head.starts_with('<') {
        "the card is a web page (it begins with `<`); download the file of the card itself".into()
    } else {
        format!(
            "the card is not JSON ({error}); name a file with the card's JSON, or the PNG that holds the card"
        )
    }
}

/// Notes the parts of the card that no prompt gets.
fn note_unused(fields: &mut Fields<'_>) {
    fields.ignore(ABOUT_THE_CARD);
    if let Some(entries) = fields.value(&["character_book", "lorebook"]).map(book_entries)
        && entries > 0
    {
        fields.notes.add(format!("`character_book` ({entries} entries) is not played"));
    }
    if fields.value(&["assets"]).is_some_and(has_own_assets) {
        fields.notes.add("`assets` are not shown".into());
    }
    let extensions = fields.value(&["extensions"]).and_then(Value::as_object);
    for (name, value) in extensions.into_iter().flatten() {
        // Every exported card has a depth prompt; it matters if it says something.
        let matters = match name.as_str() {
            "depth_prompt" => value.get("prompt").is_some_and(|prompt| !is_blank(prompt)),
            "talkativeness" | "fav" => false,
            _ => !is_blank(value),
        };
        if matters {
            fields.notes.add(format!("`extensions.{}` is not used", clip(name, 40)));
        }
    }
    for name in fields.unused() {
        fields.notes.add(format!("`{}` is not used", clip(name, 40)));
    }
}

/// The number of entries of a lorebook: a list in cards, a map in files for world info, which may stand alone. A text counts as
/// one.
fn book_entries(book: &Value) -> usize {
    match book.get("entries").unwrap_or(book) {
        Value::Array(entries) => entries.len(),
        Value::Object(entries) if book.get("entries").is_some() => entries.len(),
        Value::Object(fields) => fields.values().filter(|entry| entry.is_object()).count(),
        Value::String(_) => 1,
        _ => 0,
    }
}

/// Whether there are assets other than the image of the card itself.
fn has_own_assets(assets: &Value) -> bool {
    let uri = |asset: &Value| asset.get("uri").and_then(Value::as_str) == Some("ccdefault:");
    !assets.as_array().is_some_and(|assets| assets.iter().all(uri))
}

fn clip(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

const START: &str = "<START>";

fn find_start(text: &str) -> Option<usize> {
    text.match_indices('<')
        .map(|(at, _)| at)
        .find(|at| text.get(*at..at + START.len()).is_some_and(|word| word.eq_ignore_ascii_case(START)))
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
            json!({"spec": "chara_card_v3", "spec_version": "3.0", "data": fields}),
            json!({"data": fields}),
            json!({"spec": null, "data": fields}),
            // As some programs write it, with the fields of version 1 for older readers.
            json!({"spec": "chara_card_v2", "data": fields, "name": "older", "chat": "Ida - 2024", "fav": true}),
            json!({"spec": "chara_card_v2", "data": {"name": ""}, "name": "Ida", "first_mes": "Hi."}),
            json!({"spec": "chara_card_v2", "name": "Ida", "first_mes": "Hi."}),
            json!({"spec": "chara_card_v2", "data": null, "name": "Ida", "first_mes": "Hi.", "extensions": null}),
            json!({"data": [], "name": "Ida", "first_mes": "Hi.", "extensions": [], "character_book": []}),
        ];
        let wanted = Card { name: "Ida".into(), first_message: "Hi.".into(), ..Card::default() };
        for card in table {
            assert_eq!(Card::read(&card).unwrap(), wanted, "{card}");
            assert_eq!(Card::read(&Value::String(format!("\u{feff}{card}"))).unwrap(), wanted, "{card}");
        }
    }

    #[test]
    fn a_malformed_card_is_refused_with_a_remedy() {
        let v2 = |data: Value| json!({"spec": "chara_card_v2", "data": data});
        let table = [
            (json!(5), "the setting", "file ="),
            (json!("{\"spec\": "), "not JSON", "line 1 column 8"),
            (json!("[]"), "no object", "export it again"),
            (json!(" "), "is empty", "export it again"),
            (json!("\u{feff}"), "is empty", "export it again"),
            (json!("\u{fffd}PNG\r\n\u{1a}\n"), "a PNG that was damaged", "download the original"),
            (json!("PNG\n\u{1a}\n\0\0"), "a PNG that was damaged", "download the original"),
            (json!("{\0\"\0n\0"), "UTF-16", "save it as UTF-8"),
            (json!("<!DOCTYPE html>"), "a web page", "download the file"),
            (json!("[".repeat(200)), "recursion limit", "name a file"),
            (json!({"spec": "chara_card_v9", "data": {}}), "`spec` is `chara_card_v9`", "chara_card_v3"),
            (json!({"spec": "chara_card_v2"}), "`data` is missing", "belongs there"),
            (v2(json!({})), "`name` is missing", "give the character a name"),
            (v2(json!({"name": "  "})), "`name`", "give the character a name"),
            (v2(json!({"name": {"first": "Ida"}})), "`name`", "give the character a name"),
            (json!("data:image/jpeg;base64,AAAA"), "`image/jpeg`", "from a PNG"),
            (json!("data:image/png;base64,AAAA"), "no PNG", "JSON"),
        ];
        for (card, field, remedy) in table {
            let error = Card::read(&card).unwrap_err();
            assert!(error.contains(field) && error.contains(remedy), "{error}");
        }
    }

    #[test]
    fn older_names_of_fields_are_read() {
        let card = json!({
            "char_name": "Ida", "char_persona": "A keeper.", "world_scenario": "A lighthouse.",
            "char_greeting": "Evening.", "example_dialogue": "<START>\nIda: Mind the step.", "your_name": "Guest",
        });
        let wanted = Card {
            name: "Ida".into(),
            description: "A keeper.".into(),
            scenario: "A lighthouse.".into(),
            first_message: "Evening.".into(),
            examples: "<START>\nIda: Mind the step.".into(),
            user_name: "Guest".into(),
            ..Card::default()
        };
        assert_eq!(Card::read(&card).unwrap(), wanted);
    }

    #[test]
    fn whatever_is_not_used_is_noted_and_what_is_about_the_card_is_not() {
        let table = [
            (
                json!({"alternate_greetings": "1687194031049"}),
                "`alternate_greetings` is a text, not a list of texts",
            ),
            (json!({"scenario": {"x": 1}}), "`scenario` is an object, not a text"),
            (
                json!({"character_book": {"entries": [{"keys": ["x"]}]}}),
                "`character_book` (1 entries) is not played",
            ),
            (
                json!({"character_book": {"entries": {"0": {"key": ["x"]}, "1": {"key": ["y"]}}}}),
                "`character_book` (2 entries) is not played",
            ),
            (
                json!({"character_book": {"0": {"content": "x"}, "1": {"content": "y"}}}),
                "`character_book` (2 entries) is not played",
            ),
            (json!({"lorebook": [{"content": "no keys"}]}), "`character_book` (1 entries) is not played"),
            (json!({"character_book": "The lamp."}), "`character_book` (1 entries) is not played"),
            (json!({"group_only_greetings": ["Hi all."]}), "`group_only_greetings` is not used"),
            (
                json!({"extensions": {"depth_prompt": {"depth": 4, "prompt": "Be terse."}}}),
                "`extensions.depth_prompt` is not used",
            ),
            (
                json!({"assets": [{"type": "emotion", "uri": "https://example.org/a.png"}]}),
                "`assets` are not shown",
            ),
            (json!({"later": 1}), "`later` is not used"),
        ];
        for (fields, wanted) in table {
            let mut data = json!({"name": "Ida", "tags": ["x"], "creator_notes": "for you", "creator": "me"});
            data.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            assert_eq!(Card::read(&json!({ "data": data })).unwrap().notes, [wanted], "{fields}");
        }
        let blank = json!({
            "name": "Ida", "character_book": {"name": "", "entries": []}, "group_only_greetings": [],
            "assets": [{"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"}],
            "extensions": {"depth_prompt": {"depth": 4, "prompt": "", "role": "system"}, "fav": true, "world": ""},
        });
        assert_eq!(Card::read(&blank).unwrap().notes, [""; 0]);
    }

    #[test]
    fn a_card_of_a_later_version_plays_with_a_note() {
        let card = Card::read(&json!({"spec": "chara_card_v9", "data": {"name": "Ida"}})).unwrap();
        assert_eq!(card.notes.len(), 1, "{:?}", card.notes);
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
