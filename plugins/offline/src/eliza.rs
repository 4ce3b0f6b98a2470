//! Finds the rule for a message and makes the reply. Pure and deterministic.

use crate::script::{EARLIER, NOT_OWNED, OTHERWISE, OWN, RULES, SILENCE};
use crate::words::{Word, clauses, join, reflect};

/// Answers the last of the user's messages, which are sorted oldest first.
///
/// The number of messages selects one of the rule's replies, so that the same message gets another reply next time, and
/// the same conversation always gets the same replies.
pub(crate) fn answer(said: &[String]) -> String {
    let Some((last, earlier)) = said.split_last() else { return choose(SILENCE, 0).into() };
    let clauses = clauses(last);
    let turn = earlier.len();
    let Some(first) = clauses.first() else { return choose(SILENCE, turn).into() };

    let taken = clauses.iter().enumerate().flat_map(|(at, clause)| {
        let matching =
            RULES.iter().filter_map(move |rule| Some((rule, match_pattern(rule.pattern, clause)?)));
        matching.map(move |(rule, parts)| (rule.rank, std::cmp::Reverse(at), rule, parts))
    });
    // Among equals, the first in the script and in the message wins.
    let best = taken.reduce(|best, next| if (next.0, next.1) > (best.0, best.1) { next } else { best });
    if let Some((_, _, rule, parts)) = best {
        return fill(choose(rule.replies, turn), &parts);
    }
    let mentioned = owned_things(earlier);
    match mentioned.get(turn % (mentioned.len() + 1)) {
        Some(own) => fill(choose(EARLIER, turn), &[own.as_slice()]),
        None => fill(choose(OTHERWISE, turn), &[first.as_slice()]),
    }
}

/// The things that the user called "my" in earlier messages, the newest first.
fn owned_things(earlier: &[String]) -> Vec<Vec<Word>> {
    let texts = earlier.iter().rev().flat_map(|text| clauses(text));
    let named = |words: &[Word]| -> Vec<Word> {
        words.iter().take_while(|word| !NOT_OWNED.contains(&word.plain.as_str())).take(4).cloned().collect()
    };
    let own = texts.filter_map(|clause| {
        match_pattern(OWN, &clause).and_then(|parts| parts.get(1).map(|own| named(own)))
    });
    own.filter(|own| !own.is_empty()).collect()
}

fn choose(replies: &'static [&'static str], turn: usize) -> &'static str {
    replies.get(turn % replies.len().max(1)).copied().unwrap_or_default()
}

/// Returns the words that match each `*` and `+` of the pattern, or `None` if it does not match the whole clause.
fn match_pattern<'w>(pattern: &str, words: &'w [Word]) -> Option<Vec<&'w [Word]>> {
    let tokens: Vec<_> = pattern.split(' ').collect();
    let mut parts = Vec::new();
    match_tokens(&tokens, words, &mut parts).then_some(parts)
}

fn match_tokens<'w>(tokens: &[&str], words: &'w [Word], parts: &mut Vec<&'w [Word]>) -> bool {
    let Some((token, tokens)) = tokens.split_first() else { return words.is_empty() };
    if !matches!(*token, "*" | "+") {
        return match words.split_first() {
            Some((word, rest)) => {
                token.split('|').any(|wanted| wanted == word.plain) && match_tokens(tokens, rest, parts)
            }
            None => false,
        };
    }
    let known = parts.len();
    for length in usize::from(*token == "+")..=words.len() {
        let Some((part, rest)) = words.split_at_checked(length) else { break };
        parts.push(part);
        if match_tokens(tokens, rest, parts) {
            return true;
        }
        parts.truncate(known);
    }
    false
}

fn fill(reply: &str, parts: &[&[Word]]) -> String {
    let mut filled = reply.to_string();
    for (index, part) in parts.iter().enumerate() {
        for (place, text) in
            [(format!("{{={}}}", index + 1), join(part)), (format!("{{{}}}", index + 1), reflect(part))]
        {
            if filled.contains(&place) {
                filled = filled.replace(&place, &text);
            }
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(said: &[&str]) -> String {
        answer(&said.iter().map(|text| text.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn replies_repeat_the_users_words_with_pronouns_exchanged() {
        let table = [
            ("I feel lost in my new city.", "Do you often feel lost in your new city?"),
            ("I want to learn to sail", "What would it mean to you to learn to sail?"),
            ("I'm a baker.", "How long have you been a baker?"),
            ("You are kind.", "What makes you think that I am kind?"),
            ("I can't sleep because you snore", "How do you know that you can't sleep because I snore?"),
            ("My name is Ada Lovelace.", "Good to meet you, Ada Lovelace. What is on your mind?"),
            ("Well, hi! I remember the harbour.", "Does the harbour come to mind often?"),
            ("My mother is ill", "Tell me more about your family."),
            ("my bicycle is broken", "Your bicycle is broken: tell me more about that."),
            (
                "Are you a robot?",
                "I'm a small program that turns your own words around. What made you wonder?",
            ),
            ("Blue whales", "You say: Blue whales. Tell me more."),
            ("你好。", "You say: 你好. Tell me more."),
            ("What's the capital of France?", "What answer would please you most?"),
            ("?!", "Take your time."),
            ("", "Take your time."),
        ];
        for (said, wanted) in table {
            assert_eq!(talk(&[said]), wanted, "{said}");
        }
    }

    #[test]
    fn the_highest_rank_wins_wherever_it_stands() {
        assert_eq!(talk(&["Hello, I am new here, and I feel cold"]), "Do you often feel cold?");
        assert_eq!(talk(&["I am glad, I am cold"]), "That's good to hear. What brought it about?");
    }

    #[test]
    fn a_repeated_message_gets_another_reply() {
        let first = talk(&["I feel cold"]);
        let second = talk(&["I feel cold", "I feel cold"]);
        assert_ne!(first, second);
        assert_eq!(second, talk(&["I feel cold", "I feel cold"]), "and yet always the same");
    }

    #[test]
    fn a_reply_can_return_to_an_earlier_topic() {
        assert_eq!(
            talk(&["Grey skies", "It is about my old violin that broke", "Grey skies"]),
            "I keep thinking of your old violin. What more is there to say about it?".to_string().as_str()
        );
    }

    #[test]
    fn every_rule_can_match_and_fills_every_placeholder() {
        for rule in RULES {
            let pattern = rule.pattern.replace(" *", "").replace("* ", "").replace('+', "something");
            let said: Vec<_> = pattern.split(' ').map(|word| word.split('|').next().unwrap()).collect();
            let clause = clauses(&said.join(" ")).remove(0);
            let parts = match_pattern(rule.pattern, &clause).unwrap_or_else(|| panic!("{}", rule.pattern));
            for reply in rule.replies {
                let filled = fill(reply, &parts);
                assert!(!filled.contains('{'), "{}: {filled}", rule.pattern);
            }
        }
    }

    #[test]
    fn a_very_long_message_gets_a_short_reply() {
        assert!(talk(&[&"I am my own my ".repeat(20_000)]).len() < 300);
        assert!(talk(&[&"x, ".repeat(20_000)]).len() < 300);
    }
}
