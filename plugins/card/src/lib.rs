//! A persona that plays a character card (Character Card V2 or V3, as JSON).
//!
//! `card` reads a card, `macros` replaces its placeholders, `script` composes prompts and greetings.

mod card;
mod macros;
mod script;

use card::Card;
use masque_sdk::{Greeter, Message, Opening, Persona, Prompt, Recollection, Result, Turn};
use script::Originals;
use serde_json::Value;

/// The card that is used if none is set.
const ELARA: &str = include_str!("../cards/elara.json");

/// Plays a character card.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Player {
    /// The card as an object or as its JSON text; usually `{ file = "cards/elara.json" }`. Elara, where it is absent.
    #[serde(default)]
    #[schemars(extend("type" = ["string", "object"]))]
    card: Option<Value>,
    /// What the card's `{{original}}` stands for in its `system_prompt`, and what serves where the card has none.
    #[serde(default)]
    system_prompt: Option<String>,
    /// The same for the card's `post_history_instructions`.
    #[serde(default)]
    post_history_instructions: Option<String>,
}

impl Player {
    fn card(&self) -> Result<Card> {
        let card = match &self.card {
            Some(setting) => Card::read(setting)?,
            None => Card::parse(ELARA)?,
        };
        if card.has_book {
            tracing::info!(card = card.name, "the card's character_book is not played");
        }
        Ok(card)
    }
}

impl Persona for Player {
    async fn compose(&self, turn: Turn, recalled: Recollection) -> Result<Prompt> {
        let originals = Originals {
            system: self.system_prompt.as_deref(),
            post_history: self.post_history_instructions.as_deref(),
        };
        Ok(script::prompt(&self.card()?, originals, turn, recalled))
    }
}

impl Greeter for Player {
    async fn greet(&self, opening: Opening) -> Result<Vec<Message>> {
        Ok(script::greetings(&self.card()?, &opening.user))
    }
}

masque_sdk::export!(Player: persona, greeter);

#[cfg(test)]
mod tests {
    use super::*;
    use masque_sdk::testing;

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
    fn a_lorebook_is_mentioned_in_the_log() {
        testing::reset();
        testing::capture_logs();
        testing::set_settings(
            r#"{"card": {"name": "Ida", "character_book": {"entries": [{"keys": ["x"]}]}}}"#,
        );
        testing::run(testing::load::<Player>().unwrap().greet(testing::opening())).unwrap();
        assert!(testing::logged()[0].message.contains("character_book"));
    }

    #[test]
    fn the_schema_lets_a_card_be_text_or_object_and_refuses_what_it_does_not_know() {
        let schema: Value = serde_json::from_str(&masque_sdk::describe::<Player>().settings_schema).unwrap();
        assert_eq!(schema["properties"]["card"]["type"], serde_json::json!(["string", "object"]));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(masque_sdk::describe::<Player>().name, "card");
    }
}
