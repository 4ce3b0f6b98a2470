//! A memory that recalls the newest messages that fit into the budget, in whole turns.
//!
//! `estimate` says how many tokens a message has, `window` chooses the messages. Messages that are older than the turn's
//! tail are read only if they may fit, and only with the grant `history`.

mod estimate;
mod window;

use masque_sdk::{Memory, Message, Property, Recollection, Result, Turn, history};
use window::{Limits, Window};

/// Messages in a page of the history.
const PAGE_SIZE: u32 = 128;
/// The largest number of pages that are read. Each one takes time, and the reply can't begin before the recall ends.
const MAX_PAGES: usize = 8;

/// Recalls the newest messages that fit.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Newest {
    /// At most this many turns (a user's message with its replies), however many would fit.
    max_turns: Option<u32>,
    /// At most this many tokens, where the model's budget is larger.
    max_tokens: Option<u32>,
    /// Tokens of the budget that are left free.
    reserve: u32,
}

impl Memory for Newest {
    async fn recall(&self, turn: Turn, budget: u32) -> Result<Recollection> {
        let limits = self.limits(budget);
        let mut past = Past { messages: turn.tail, is_complete: !turn.has_earlier };
        let mut window = window::choose(&past.messages, past.is_complete, limits);
        for _ in 0..MAX_PAGES {
            if past.is_complete || !window.has_room || !past.read_page() {
                break;
            }
            window = window::choose(&past.messages, past.is_complete, limits);
        }
        Ok(recollection(past.messages, &window))
    }
}

impl Newest {
    fn limits(&self, budget: u32) -> Limits {
        let tokens = budget.saturating_sub(self.reserve).min(self.max_tokens.unwrap_or(u32::MAX));
        let turns = self.max_turns.and_then(|turns| usize::try_from(turns).ok()).unwrap_or(usize::MAX);
        Limits { tokens, turns }
    }
}

/// The messages of the conversation that are known: all from some message on.
struct Past {
    messages: Vec<Message>,
    /// The first message is the first of the conversation.
    is_complete: bool,
}

impl Past {
    /// Reads the page before the known messages. Returns `false` if the history can't be read.
    fn read_page(&mut self) -> bool {
        // No message is known if the newest one was too large for the tail. The page then ends with that message.
        let oldest = self.messages.first().and_then(|message| message.id.as_deref());
        match history::page(oldest, PAGE_SIZE) {
            Ok(page) if page.is_empty() => {
                self.is_complete = true;
                true
            }
            Ok(page) => {
                self.messages.splice(..0, page);
                true
            }
            Err(failure) if failure.code == "denied" => {
                tracing::debug!("the grant `history` is missing; only the newest messages are recalled");
                false
            }
            Err(failure) => {
                tracing::warn!(code = failure.code, reason = failure.message, "no older messages");
                false
            }
        }
    }
}

fn recollection(mut messages: Vec<Message>, window: &Window) -> Recollection {
    let left_out = messages.len() - window.messages;
    messages.drain(..left_out);
    let mut recollection = Recollection::of(messages);
    recollection.metadata.extend(Property::new("turns", window.turns));
    recollection.metadata.extend(Property::new("estimated_tokens", window.tokens));
    recollection
}

masque_sdk::export!(Newest: memory);

#[cfg(test)]
mod tests {
    use super::*;
    use masque_sdk::testing;

    const TAIL_MESSAGES: usize = 64;

    /// Makes `count` turns of two messages of 7 tokens each.
    fn talk(count: usize) -> Vec<Message> {
        let message = |index: usize| {
            let mut message = Message::new(if index.is_multiple_of(2) { "user" } else { "assistant" }, "abc");
            message.id = Some(format!("message-{index}"));
            message
        };
        (0..2 * count).map(message).collect()
    }

    fn recalled(settings: &str, all: &[Message], budget: u32) -> Vec<String> {
        recalled_with(settings, all, TAIL_MESSAGES, budget)
    }

    /// Recalls with a tail of only the newest `tail` messages.
    fn recalled_with(settings: &str, all: &[Message], tail: usize, budget: u32) -> Vec<String> {
        testing::set_settings(settings);
        let mut turn = testing::turn("Hello");
        turn.tail = all[all.len().saturating_sub(tail)..].to_vec();
        turn.has_earlier = turn.tail.len() < all.len();
        let memory: Newest = testing::load().unwrap();
        let recollection = testing::run(memory.recall(turn, budget)).unwrap();
        recollection.messages.into_iter().filter_map(|message| message.id).collect()
    }

    #[test]
    fn a_short_conversation_is_recalled_whole_without_asking_for_more() {
        testing::reset();
        testing::deny("history");
        assert_eq!(recalled("{}", &talk(3), 1_000).len(), 6);
    }

    #[test]
    fn older_messages_are_fetched_where_they_fit() {
        testing::reset();
        let all = talk(200);
        testing::set_history(all.clone());
        let ids = recalled("{}", &all, 14 * 150);
        assert_eq!((ids.len(), ids[0].as_str(), ids[299].as_str()), (300, "message-100", "message-399"));
        assert_eq!(recalled("{}", &all, 1_000_000).len(), 400);
    }

    #[test]
    fn without_the_grant_only_the_tail_is_recalled() {
        testing::reset();
        testing::deny("history");
        assert_eq!(recalled("{}", &talk(200), 1_000_000).len(), TAIL_MESSAGES);
    }

    #[test]
    fn the_rest_of_a_cut_turn_is_left_out() {
        testing::reset();
        testing::deny("history");
        let mut all = talk(100);
        all.push(Message::user("and again"));
        assert_eq!(recalled("{}", &all, 1_000_000).len(), TAIL_MESSAGES - 2);
    }

    #[test]
    fn a_message_too_long_for_the_tail_hides_nothing_that_was_before_it() {
        testing::reset();
        let all = talk(5);
        testing::set_history(all.clone());
        for tail in [0, 1, 2, 9] {
            let ids = recalled_with("{}", &all, tail, 1_000);
            assert_eq!((ids.len(), ids[0].as_str()), (10, "message-0"), "a tail of {tail}");
        }
    }

    #[test]
    fn a_reply_whose_question_did_not_fit_the_tail_is_no_turn() {
        testing::reset();
        let all = talk(2);
        testing::deny("history");
        assert_eq!(recalled_with("{}", &all, 1, 1_000), [""; 0]);
        testing::reset();
        testing::set_history(all.clone());
        assert_eq!(recalled_with("{}", &all, 1, 13), [""; 0]);
        assert_eq!(recalled_with("{}", &all, 1, 14), ["message-2", "message-3"]);
    }

    #[test]
    fn settings_make_the_window_smaller_and_never_larger() {
        testing::reset();
        let all = talk(10);
        let table = [
            ("{}", 140, 20),
            (r#"{"reserve": 28}"#, 140, 16),
            (r#"{"reserve": 500}"#, 140, 0),
            (r#"{"max_tokens": 14}"#, 140, 2),
            (r#"{"max_tokens": 5000}"#, 70, 10),
            (r#"{"max_turns": 3}"#, 280, 6),
            (r#"{"max_turns": 0}"#, 280, 0),
        ];
        for (settings, budget, wanted) in table {
            assert_eq!(recalled(settings, &all, budget).len(), wanted, "{settings}");
        }
    }

    #[test]
    fn a_misspelt_setting_is_refused_by_name() {
        testing::set_settings(r#"{"max_turn": 3}"#);
        let failure = testing::load::<Newest>().err().unwrap();
        assert!(failure.message.contains("max_turn"), "{}", failure.message);
    }
}
