//! Chooses the messages to recall: the newest whole turns that fit.

use crate::estimate;
use masque_sdk::Message;

/// The limits of what is recalled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// In estimated tokens.
    pub(crate) tokens: u32,
    pub(crate) turns: usize,
}

/// The messages to recall.
#[derive(Debug, PartialEq)]
pub(crate) struct Window {
    /// The number of messages, counted from the newest.
    pub(crate) messages: usize,
    pub(crate) turns: usize,
    pub(crate) tokens: u32,
    /// All known messages fit, so older ones may fit too.
    pub(crate) has_room: bool,
}

/// Chooses among `messages`, which are sorted oldest first. A turn is a message of the user and all that follows until the
/// next one. Messages before the first one of the user (a greeting) are a turn too, if `is_complete` says that the first
/// message is the first of the conversation. Otherwise they are the rest of a turn whose beginning is unknown, and are
/// left out.
pub(crate) fn choose(messages: &[Message], is_complete: bool, limits: Limits) -> Window {
    let mut window = Window { messages: 0, turns: 0, tokens: 0, has_room: true };
    let (mut open, mut cost) = (0, 0_u32);
    for (index, message) in messages.iter().enumerate().rev() {
        open += 1;
        cost = cost.saturating_add(estimate::message(message));
        let is_whole = message.role == "user" || (index == 0 && is_complete);
        if !is_whole {
            continue;
        }
        let tokens = window.tokens.saturating_add(cost);
        if tokens > limits.tokens || window.turns == limits.turns {
            window.has_room = false;
            return window;
        }
        window.tokens = tokens;
        window.messages += open;
        window.turns += 1;
        (open, cost) = (0, 0);
    }
    // A turn whose known part is already too large can't fit, so its beginning need not be read.
    window.has_room = window.tokens.saturating_add(cost) <= limits.tokens && window.turns < limits.turns;
    window
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a message of 7 tokens for each letter, which is its role.
    fn messages(roles: &str) -> Vec<Message> {
        let role = |letter| match letter {
            'u' => "user",
            't' => "tool",
            's' => "system",
            _ => "assistant",
        };
        roles.chars().map(|letter| Message::new(role(letter), "abc")).collect()
    }

    #[test]
    fn the_newest_whole_turns_that_fit_are_chosen() {
        // roles, begins, tokens, turns → messages, turns, has room
        let table = [
            ("uaua", true, 28, 99, 4, 2, true),
            ("uaua", true, 27, 99, 2, 1, false),
            ("uaua", true, 14, 99, 2, 1, false),
            ("uaua", true, 13, 99, 0, 0, false),
            ("uaua", true, 0, 99, 0, 0, false),
            ("uaua", true, 28, 1, 2, 1, false),
            ("uaua", true, 28, 2, 4, 2, false),
            ("uaua", true, 28, 0, 0, 0, false),
            // The calls and results of tools are kept or dropped with their turn.
            ("uatata", true, 42, 99, 6, 1, true),
            ("uauatata", true, 43, 99, 6, 1, false),
            ("uauatata", true, 41, 99, 0, 0, false),
            // A greeting is a turn; the rest of a turn whose beginning is missing is not.
            ("aua", true, 21, 99, 3, 2, true),
            ("aua", true, 20, 99, 2, 1, false),
            ("aua", false, 99, 99, 2, 1, true),
            ("aaa", false, 99, 99, 0, 0, true),
            // Two user messages in a row: the first was never answered.
            ("uua", true, 21, 99, 3, 2, true),
            ("uua", true, 14, 99, 2, 1, false),
            ("", true, 10, 99, 0, 0, true),
        ];
        for (roles, begins, tokens, turns, wanted, wanted_turns, has_room) in table {
            let window = choose(&messages(roles), begins, Limits { tokens, turns });
            let got = (window.messages, window.turns, window.has_room);
            assert_eq!(got, (wanted, wanted_turns, has_room), "{roles} in {tokens} tokens, {turns} turns");
            assert!(window.tokens <= tokens);
        }
    }
}
