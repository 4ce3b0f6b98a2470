//! A persona that uses everything that a persona can use: it greets, reflects, calls every import and fills every record.

use masque_sdk::{
    Exchange, Failure, Greeter, Message, Opening, Part, Persona, Prompt, Property, Recollection, Reflector,
    Result, Tool, Turn, history, models, state,
};
use std::time::Duration;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Golden {
    name: String,
}

impl Persona for Golden {
    async fn compose(&self, turn: Turn, recalled: Recollection) -> Result<Prompt> {
        let visits = state::user().add("visits", 1)?;
        let oldest = turn.tail.first().and_then(|message| message.id.as_deref());
        let earlier = if turn.has_earlier { history::page(oldest, 10)?.len() } else { 0 };
        let topic = models::ask(&Prompt::new([Message::user("In a word?")]))?.message.text();
        let said = [
            format!("I am {}.", self.name),
            format!("{} is here for the {visits}. time.", turn.user.name_or("someone")),
            format!(
                "{} messages, {earlier} before them, the last at {:?}.",
                turn.tail.len(),
                turn.message.at
            ),
            format!("It is about {topic}, {} ms after the beginning of time.", turn.now),
        ];
        let system = Message::system(said.join(" ")).from_source("golden.persona").cached();
        let known = recalled.memories.into_iter().map(|memory| {
            let mut message = Message::system(memory.text).from_source(format!("memory:{}", memory.id));
            message.metadata.extend(Property::new("score", memory.score));
            message
        });
        let mut prompt =
            Prompt::new([system]).messages(known).messages(recalled.messages).message(turn.message);
        prompt.tools.push(Tool {
            name: "tide".into(),
            description: "When the tide turns.".into(),
            parameters: r#"{"type": "object"}"#.into(),
            metadata: turn.metadata,
        });
        Ok(prompt.option("temperature", 0.5))
    }
}

impl Greeter for Golden {
    async fn greet(&self, opening: Opening) -> Result<Vec<Message>> {
        let hello = format!("{} greets {}.", opening.companion, opening.user.name_or("someone"));
        Ok(vec![Message::assistant(hello), Message::assistant(format!("I am {}.", self.name))])
    }
}

impl Reflector for Golden {
    async fn reflect(&self, exchange: Exchange) -> Result<()> {
        if exchange.interrupted {
            return Err(Failure::unavailable("come back").retry_after(Duration::from_secs(7)));
        }
        let thoughts = exchange.reply.parts.iter().filter(|part| matches!(part, Part::Thinking(_))).count();
        let cost = exchange.usage.input_tokens + exchange.usage.output_tokens;
        let told = format!(
            "{} ({thoughts} thoughts, {cost} tokens, try {})",
            exchange.reply.text(),
            exchange.attempt
        );
        state::conversation().set("last", &told)?;
        state::shared().add("exchanges", 1).map(|_| ())
    }
}

masque_sdk::export!(Golden: persona, greeter, reflector; state_version = 3);
