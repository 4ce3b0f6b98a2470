//! An example of a persona, to copy. The operator sets its name and its manner:
//! `settings = { name = "Ida", manner = "You answer in rhymes." }`

use masque_sdk::{Message, Persona, Prompt, Recollection, Result, Turn};

/// The settings. A setting without a default is required; a setting that is not listed here is refused by name.
#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Hello {
    name: String,
    #[serde(default)]
    manner: String,
}

impl Persona for Hello {
    /// Called once in a turn. Returns the prompt for the model.
    async fn compose(&self, turn: Turn, recalled: Recollection) -> Result<Prompt> {
        let user = turn.user.name_or("a stranger");
        let system = format!("You are {}, and you talk to {user}. {}", self.name, self.manner);
        Ok(Prompt::new([Message::system(system).cached()]).messages(recalled.messages).message(turn.message))
    }
}

masque_sdk::export!(Hello: persona);

#[cfg(test)]
mod tests {
    use super::*;
    use masque_sdk::testing;

    #[test]
    fn the_prompt_names_the_persona_and_the_user() {
        testing::set_settings(r#"{"name": "Ida", "manner": "You answer in rhymes."}"#);
        testing::set_user_name("Ada");
        let hello: Hello = testing::load().unwrap();
        let recalled = Recollection::of([Message::user("Hi."), Message::assistant("Oh my, a guy!")]);

        let prompt = testing::run(hello.compose(testing::turn("How are you?"), recalled)).unwrap();

        let said: Vec<_> = prompt.messages.iter().map(Message::text).collect();
        assert_eq!(said[0], "You are Ida, and you talk to Ada. You answer in rhymes.");
        assert_eq!(said[1..], ["Hi.", "Oh my, a guy!", "How are you?"]);
    }

    #[test]
    fn a_misspelt_setting_is_refused_by_name() {
        testing::set_settings(r#"{"name": "Ida", "maner": "gruff"}"#);
        let failure = testing::load::<Hello>().err().unwrap();
        assert_eq!(failure.message, "there is no setting `maner`; did you mean `manner`?");
    }
}
