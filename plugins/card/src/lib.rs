//! A persona that plays a character card: Character Card V1, V2 or V3, as JSON or in a PNG.
//!
//! `card` reads a card with the help of `fields` and `json`; `png` and `data_url` find it in an image. `macros` replaces its
//! placeholders, with numbers from `draw`. `script` composes prompts and greetings.

mod card;
mod data_url;
mod draw;
mod fields;
mod json;
mod macros;
mod png;
mod script;

use card::Card;
use masque_sdk::{Failure, Greeter, Message, Opening, Persona, Prompt, Recollection, Result, Turn};
use script::{Originals, Script};
use serde_json::Value;

/// The card that is used if none is set.
const ELARA: &str = include_str!("../cards/elara.json");

/// Plays a character card.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Player {
    /// The card as an object, as its JSON text, or as a PNG; usually `{ file = "cards/elara.json" }`. Elara, where it is
    /// absent.
    #[serde(default)]
    #[schemars(extend("type" = ["string", "object"]))]
    card: Option<Value>,
    /// What the card's `{{original}}` stands for in its `system_prompt`, and what serves where the card has none.
    #[serde(default)]
    system_prompt: Option<String>,
    /// The same for the card's `post_history_instructions`.
    #[serde(default)]
    post_history_instructions: Option<String>,
    /// What the card's `{{user}}` stands for where the user's name is not known and the card has no word of its own.
    /// `User`, where it is absent.
    #[serde(default)]
    user_name: Option<String>,
}

impl Player {
    fn card(&self) -> Result<Card> {
        let card = match &self.card {
            Some(setting) => Card::read(setting),
            None => Card::parse(ELARA),
        };
        card.map_err(|error| Failure::invalid_setting("/card", error))
    }

    fn originals(&self) -> Originals<'_> {
        Originals {
            system: self.system_prompt.as_deref(),
            post_history: self.post_history_instructions.as_deref(),
            user_name: self.user_name.as_deref(),
        }
    }
}

impl Persona for Player {
    async fn compose(&self, turn: Turn, recalled: Recollection) -> Result<Prompt> {
        let card = self.card()?;
        let script = Script::of_turn(&card, self.originals(), &turn);
        // The host reports warnings when it loads the card, and once only.
        let warnings = if turn.is_trial() { script.notes() } else { Vec::new() };
        let warnings = warnings.into_iter().map(|note| format!("`card`: {note}"));
        Ok(script.prompt(turn.message.clone(), recalled).warnings(warnings))
    }
}

impl Greeter for Player {
    async fn greet(&self, opening: Opening) -> Result<Vec<Message>> {
        Ok(Script::of_opening(&self.card()?, self.originals(), &opening).greetings())
    }
}

masque_sdk::export!(Player: persona, greeter);

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use masque_sdk::{Property, testing};

    #[test]
    fn elara_is_complete_and_needs_no_setting() {
        testing::reset();
        let player: Player = testing::load().unwrap();
        let greetings = testing::run(player.greet(testing::opening())).unwrap();
        assert_eq!(greetings.len(), 3);
        let prompt = testing::run(player.compose(testing::turn("Hello"), Recollection::default())).unwrap();
        let sources: Vec<_> = prompt.messages.iter().filter_map(|m| m.source.as_deref()).collect();
        let wanted = ["system_prompt", "description", "personality", "scenario", "mes_example"];
        assert_eq!(sources, wanted.map(|field| format!("card.{field}")));
        let left =
            prompt.messages.iter().chain(&greetings).map(Message::text).find(|text| text.contains("{{"));
        assert_eq!(left, None, "a magic word was left");
    }

    #[test]
    fn a_card_comes_as_text_or_as_an_object() {
        for settings in [
            r#"{"card": "{\"name\": \"Ida\", \"first_mes\": \"Hi.\"}"}"#,
            r#"{"card": {"name": "Ida", "first_mes": "Hi."}}"#,
        ] {
            testing::set_settings(settings);
            let greetings =
                testing::run(testing::load::<Player>().unwrap().greet(testing::opening())).unwrap();
            assert_eq!(greetings[0].text(), "Hi.");
        }
    }

    #[test]
    fn a_card_comes_in_a_png() {
        let text = r#"{"data": {"name": "Ida", "first_mes": "Hi."}}"#;
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        png.extend(u32::try_from(text.len() + 6).unwrap().to_be_bytes());
        png.extend(b"tEXtchara\0");
        png.extend(text.as_bytes());
        png.extend([0; 4]);
        let url = format!("data:image/png;base64,{}", STANDARD.encode(png));
        testing::set_settings(&serde_json::json!({ "card": url }).to_string());
        let greetings = testing::run(testing::load::<Player>().unwrap().greet(testing::opening())).unwrap();
        assert_eq!(greetings[0].text(), "Hi.");
    }

    #[test]
    fn what_is_not_used_is_told_in_the_trial_alone() {
        testing::reset();
        testing::capture_logs();
        testing::set_settings(
            r#"{"card": {"name": "Ida", "character_book": {"entries": [{"keys": ["x"]}]}}}"#,
        );
        let composed = |turn| {
            testing::run(testing::load::<Player>().unwrap().compose(turn, Recollection::default())).unwrap()
        };
        let warnings = |prompt: &Prompt| Property::find::<Vec<String>>(&prompt.metadata, "warnings");
        assert_eq!(warnings(&composed(testing::turn("Hi"))), None);
        let told = warnings(&composed(testing::trial(testing::turn("Hi")))).unwrap();
        assert!(told.len() == 1 && told[0].contains("character_book"), "{told:?}");
        assert_eq!(testing::logged(), []);
    }

    #[test]
    fn a_card_that_can_not_be_used_names_the_setting() {
        testing::reset();
        testing::set_settings(r#"{"card": "{}"}"#);
        let player = testing::load::<Player>().unwrap();
        let failure = testing::run(player.greet(testing::opening())).unwrap_err();
        assert_eq!(failure.code, "invalid");
        assert_eq!(Property::find::<String>(&failure.metadata, "setting").as_deref(), Some("/card"));
    }

    #[test]
    fn the_schema_lets_a_card_be_text_or_object_and_refuses_what_it_does_not_know() {
        let schema: Value = serde_json::from_str(&masque_sdk::describe::<Player>().settings_schema).unwrap();
        assert_eq!(schema["properties"]["card"]["type"], serde_json::json!(["string", "object"]));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(masque_sdk::describe::<Player>().name, "card");
    }
}
