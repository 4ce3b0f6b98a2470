//! An example of a persona, to copy. The operator sets its name and its manner:
//! `settings = { name = "Ida", manner = "You answer in rhymes." }`

use masque_sdk::{Greeter, Message, Opening, Persona, Prompt, Recollection, Result, Turn};

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
        let memories = recalled.memory_message();
        let prompt = Prompt::new([Message::system(system).cached()]).messages(memories);
        Ok(prompt.messages(recalled.messages).message(turn.message))
    }
}

impl Greeter for Hello {
    /// Called when a conversation begins. Returns its first message, and alternatives to it.
    async fn greet(&self, opening: Opening) -> Result<Vec<Message>> {
        let user = opening.user.name_or("stranger");
        Ok(vec![Message::assistant(format!("Hello, {user}! I am {}.", self.name))])
    }
}

masque_sdk::export!(Hello: persona, greeter);

#[cfg(test)]
mod tests {
    use super::*;
    use masque_sdk::{Remembered, testing};

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
    fn the_memories_are_in_the_prompt() {
        testing::set_settings(r#"{"name": "Ida"}"#);
        let hello: Hello = testing::load().unwrap();
        let mut recalled = Recollection::default();
        let (id, text) = ("m1".to_owned(), "Likes rye.".to_owned());
        recalled.memories.push(Remembered { id, text, score: None, source: None, metadata: Vec::new() });

        let prompt = testing::run(hello.compose(testing::turn("How are you?"), recalled)).unwrap();

        assert!(prompt.messages[1].text().contains("Likes rye."));
    }

    #[test]
    fn the_greeting_names_the_persona() {
        testing::set_settings(r#"{"name": "Ida"}"#);
        let hello: Hello = testing::load().unwrap();
        let greetings = testing::run(hello.greet(testing::opening())).unwrap();
        assert_eq!(greetings[0].text(), "Hello, stranger! I am Ida.");
    }

    #[test]
    fn a_misspelt_setting_is_refused_by_name() {
        testing::set_settings(r#"{"name": "Ida", "maner": "gruff"}"#);
        let failure = testing::load::<Hello>().err().unwrap();
        assert_eq!(failure.message, "there is no setting `maner`; did you mean `manner`?");
    }
}
