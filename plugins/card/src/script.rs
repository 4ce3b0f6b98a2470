//! Composes the prompt of a turn and the greetings of a character from a card.
//!
//! The parts that are the same in every turn come first. The last of them is marked with `cache`, so that a provider can
//! cache the prefix.

use crate::card::Card;
use crate::macros::Names;
use masque_sdk::{Message, Prompt, Property, Recollection, Turn, User};

/// Replaces `{{original}}` in the card's `system_prompt`, and is used if the card has none.
const SYSTEM: &str = "Write the next reply of {{char}} in a conversation between {{char}} and {{user}}. \
    Stay in character, speak only for {{char}}, and never speak or decide for {{user}}.";

/// The operator's texts, which replace the built-in ones.
#[derive(Clone, Copy, Default)]
pub(crate) struct Originals<'a> {
    pub(crate) system: Option<&'a str>,
    pub(crate) post_history: Option<&'a str>,
}

pub(crate) fn prompt(card: &Card, originals: Originals<'_>, turn: Turn, recalled: Recollection) -> Prompt {
    let names = names(card, &turn.user);
    let mut messages = stable_messages(card, originals, names);
    if let Some(last) = messages.last_mut() {
        last.cache = true;
    }
    messages.extend(memories(&recalled, names));
    messages.extend(recalled.messages);
    messages.push(turn.message);
    let original = originals.post_history.unwrap_or_default();
    let last = text_or_original(&card.post_history_instructions, original, names);
    messages.extend(section("card.post_history_instructions", last));
    Prompt::new(messages)
}

/// Returns the first message and its alternatives for `user`.
pub(crate) fn greetings(card: &Card, user: &User) -> Vec<Message> {
    let names = names(card, user);
    let first = std::iter::once((&card.first_message, "card.first_mes".to_string()));
    let others = card.alternate_greetings.iter().enumerate();
    first
        .chain(others.map(|(index, text)| (text, format!("card.alternate_greetings.{index}"))))
        .filter(|(text, _)| !text.is_empty())
        .map(|(text, source)| Message::assistant(names.replace(text)).from_source(source))
        .collect()
}

fn names<'a>(card: &'a Card, user: &'a User) -> Names<'a> {
    Names { char: card.display_name(), user: user.name_or("User") }
}

/// The messages that are the same in every turn.
fn stable_messages(card: &Card, originals: Originals<'_>, names: Names<'_>) -> Vec<Message> {
    let titled = |title: &str, text: &str| match text {
        "" => String::new(),
        text => names.replace(&format!("{title}\n{text}")),
    };
    let examples: Vec<_> = card.example_conversations();
    let examples = examples.join("\n\n[A new conversation]\n");
    let sections = [
        section(
            "card.system_prompt",
            text_or_original(&card.system_prompt, originals.system.unwrap_or(SYSTEM), names),
        ),
        section("card.description", titled("Who {{char}} is:", &card.description)),
        section("card.personality", titled("{{char}}'s personality:", &card.personality)),
        section("card.scenario", titled("The scene:", &card.scenario)),
        section(
            "card.mes_example",
            titled("How {{char}} talks, by example; none of this has happened:", &examples),
        ),
    ];
    sections.into_iter().flatten().collect()
}

/// Returns the card's text with `{{original}}` replaced, or the original if the card has no text.
fn text_or_original(text: &str, original: &str, names: Names<'_>) -> String {
    let text = if text.is_empty() { "{{original}}" } else { text };
    names.replace_with_original(text, original)
}

fn section(source: &str, text: String) -> Option<Message> {
    let text = text.trim();
    (!text.is_empty()).then(|| Message::system(text).from_source(source))
}

fn memories(recalled: &Recollection, names: Names<'_>) -> Option<Message> {
    let lines: Vec<_> = recalled.memories.iter().map(|memory| format!("- {}", memory.text.trim())).collect();
    if lines.is_empty() {
        return None;
    }
    let title = names.replace("What {{char}} remembers of earlier conversations with {{user}}:");
    let ids: Vec<_> = recalled.memories.iter().map(|memory| memory.id.as_str()).collect();
    let mut message = section("memories", format!("{title}\n{}", lines.join("\n")))?;
    message.metadata.extend(Property::new("memories", ids));
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use masque_sdk::{Remembered, testing};

    fn card() -> Card {
        Card::parse(
            r#"{"spec": "chara_card_v2", "data": {
                "name": "Ida", "description": "{{char}} is a baker.", "personality": "brisk", "scenario": "",
                "system_prompt": "{{original}} Be {{char}}.", "post_history_instructions": "Now, {{user}}! {{original}}",
                "mes_example": "<START>\n{{user}}: Hi\n<START>\n<BOT>: Bread?", "first_mes": "Hello <USER>.",
                "alternate_greetings": ["", "{{user}} again."], "creator_notes": "SECRET", "tags": ["SECRET"],
                "creator": "SECRET", "character_version": "SECRET", "extensions": {"note": "SECRET"},
                "character_book": {"entries": [{"keys": ["x"], "content": "SECRET"}]}
            }}"#,
        )
        .unwrap()
    }

    fn played(card: &Card, originals: Originals<'_>) -> Prompt {
        testing::set_user_name("Ada");
        let memory = |id: &str, text: &str| Remembered {
            id: id.into(),
            text: text.into(),
            score: None,
            source: None,
            metadata: Vec::new(),
        };
        let mut recalled = Recollection::of([Message::user("Hi."), Message::assistant("Bread?")]);
        recalled.memories = vec![memory("m1", "Likes rye."), memory("m2", "Says {{char}} a lot.")];
        prompt(card, originals, testing::turn("Yes, {{char}}."), recalled)
    }

    #[test]
    fn the_prompt_has_the_parts_of_the_card_in_order_with_their_sources() {
        let originals = Originals { system: Some("Talk to {{user}}."), post_history: Some("Be short.") };
        let prompt = played(&card(), originals);
        let said: Vec<_> =
            prompt.messages.iter().map(|m| (m.source.as_deref().unwrap_or(&m.role), m.text())).collect();
        let wanted = [
            ("card.system_prompt", "Talk to Ada. Be Ida."),
            ("card.description", "Who Ida is:\nIda is a baker."),
            ("card.personality", "Ida's personality:\nbrisk"),
            (
                "card.mes_example",
                "How Ida talks, by example; none of this has happened:\nAda: Hi\n\n[A new conversation]\nIda: Bread?",
            ),
            (
                "memories",
                "What Ida remembers of earlier conversations with Ada:\n- Likes rye.\n- Says {{char}} a lot.",
            ),
            ("user", "Hi."),
            ("assistant", "Bread?"),
            ("user", "Yes, {{char}}."),
            ("card.post_history_instructions", "Now, Ada! Be short."),
        ];
        assert_eq!(said, wanted.map(|(source, text)| (source, text.to_string())));
    }

    #[test]
    fn the_stable_prefix_ends_once_and_before_anything_that_changes() {
        let prompt = played(&card(), Originals::default());
        let cached: Vec<_> = prompt.messages.iter().filter(|m| m.cache).map(|m| m.source.clone()).collect();
        assert_eq!(cached, [Some("card.mes_example".to_string())]);
    }

    #[test]
    fn fields_for_people_never_reach_the_prompt() {
        let prompt = format!("{:?}", played(&card(), Originals::default()));
        assert!(!prompt.contains("SECRET"), "{prompt}");
    }

    #[test]
    fn a_card_without_instructions_gets_the_built_in_ones_and_nothing_after_the_history() {
        let card = Card { name: "Ida".into(), ..Card::default() };
        let prompt = played(&card, Originals::default());
        assert!(prompt.messages[0].text().starts_with("Write the next reply of Ida in a conversation"));
        assert!(prompt.messages[0].cache);
        assert_eq!(prompt.messages.last().unwrap().role, "user");
    }

    #[test]
    fn greetings_are_the_first_message_and_the_alternatives_that_are_not_blank() {
        testing::set_user_name("Ada");
        let greetings = greetings(&card(), &testing::opening().user);
        let said: Vec<_> = greetings.iter().map(|m| (m.role.as_str(), m.text())).collect();
        assert_eq!(said, [("assistant", "Hello Ada.".to_string()), ("assistant", "Ada again.".to_string())]);
    }

    #[test]
    fn a_user_without_a_name_is_called_user() {
        testing::reset();
        assert_eq!(greetings(&card(), &testing::opening().user)[0].text(), "Hello User.");
    }
}
