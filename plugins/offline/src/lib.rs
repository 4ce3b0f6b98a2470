//! A model without network and API key: a deterministic program in the manner of ELIZA, which the first reply says.
//!
//! `script` holds the rules and replies, `eliza` finds a reply, `words` splits texts and exchanges pronouns.

mod eliza;
mod script;
mod words;

use masque_sdk::{Finish, Message, Model, Prompt, Property, ReplyWriter, Result, Usage};

/// Answers without a network. There is nothing to set.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Offline {}

impl Model for Offline {
    async fn generate(&self, prompt: Prompt, reply: &mut ReplyWriter) -> Result<Finish> {
        let said: Vec<_> = prompt.messages.iter().filter(|m| m.role == "user").map(Message::text).collect();
        let mut answer = eliza::answer(&said);
        if said.len() <= 1 {
            answer = format!("{}\n\n{answer}", script::NOTICE);
        }
        let limit = word_limit(&prompt).unwrap_or(usize::MAX);
        let mut written = 0;
        for word in answer.split_inclusive(' ').take(limit) {
            reply.text(word).await?;
            written += 1;
        }
        let read: usize =
            prompt.messages.iter().map(|message| message.text().split_whitespace().count()).sum();
        reply.usage(Usage::new(tokens(read), tokens(written))).await?;
        let is_whole = written == answer.split_inclusive(' ').count();
        Ok(if is_whole { Finish::stop() } else { Finish::length() })
    }
}

/// Estimates the tokens of a number of words. English has about four tokens in three words.
fn tokens(words: usize) -> u64 {
    u64::try_from(words.saturating_mul(4).div_ceil(3)).unwrap_or(u64::MAX)
}

/// The number of words that `max_tokens` allows.
fn word_limit(prompt: &Prompt) -> Option<usize> {
    Property::find(&prompt.options, "max_tokens").map(|tokens: usize| tokens.saturating_mul(3) / 4)
}

masque_sdk::export!(Offline: model);

#[cfg(test)]
mod tests {
    use super::*;
    use masque_sdk::{Delta, testing};

    fn answer(prompt: Prompt) -> testing::Answer {
        testing::answer(&Offline {}, prompt).unwrap()
    }

    #[test]
    fn the_first_reply_says_what_this_is_and_how_to_connect_a_model() {
        let first =
            answer(Prompt::new([Message::system("You are Elara."), Message::user("I feel cold")])).text();
        for word in ["offline demonstration", "`openai` plugin", "`masque.toml`", "\"Connecting a model\""] {
            assert!(first.contains(word), "{first}");
        }
        assert!(first.ends_with("\n\nDo you often feel cold?"), "{first}");
    }

    #[test]
    fn later_replies_are_only_the_conversation() {
        let prompt =
            Prompt::new([Message::user("Hi"), Message::assistant("Hello!"), Message::user("I feel cold")]);
        assert_eq!(answer(prompt).text(), "When you feel cold, what do you usually do?");
    }

    #[test]
    fn a_reply_comes_word_by_word_with_its_usage_and_its_end() {
        let answer = answer(Prompt::new([Message::user("Hi"), Message::user("I feel cold")]));
        let texts = answer.deltas.iter().filter(|delta| matches!(delta, Delta::Text(_))).count();
        assert_eq!(texts, 9);
        assert_eq!(answer.usage().map(|usage| (usage.input_tokens, usage.output_tokens)), Some((6, 12)));
        assert_eq!(answer.deltas.last(), Some(&Delta::Finish(Finish::stop())));
    }

    #[test]
    fn a_reply_ends_at_the_limit_of_length_and_says_so() {
        let answer =
            answer(Prompt::new([Message::user("Hi"), Message::user("I feel cold")]).option("max_tokens", 4));
        assert_eq!((answer.text().as_str(), answer.finish()), ("When you feel ", Some("length")));
    }

    #[test]
    fn a_prompt_without_a_user_is_answered_too() {
        assert!(answer(Prompt::new([])).text().ends_with("Take your time."));
    }
}
