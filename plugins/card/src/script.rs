//! Composes the prompt of a turn and the greetings of a character from a card.
//!
//! The parts that are the same in every turn come first. The last of them is marked with `cache`, so that a provider can
//! cache the prefix.

use crate::card::Card;
use crate::draw::Seeds;
use crate::macros::Macros;
use masque_sdk::{Message, Opening, Prompt, Property, Recollection, Turn, User};

/// Replaces `{{original}}` in the card's `system_prompt`, and is used if the card has none.
const SYSTEM: &str = "Write the next reply of {{char}} in a conversation between {{char}} and {{user}}. \
    Stay in character, speak only for {{char}}, and never speak or decide for {{user}}.";

/// The operator's texts, which replace the built-in ones.
#[derive(Clone, Copy, Default)]
pub(crate) struct Originals<'a> {
    pub(crate) system: Option<&'a str>,
    pub(crate) post_history: Option<&'a str>,
    /// What a user is called whose name is not known and for whom the card has no word.
    pub(crate) user_name: Option<&'a str>,
}

/// A card, and what stands for its macros in one call.
pub(crate) struct Script<'a> {
    card: &'a Card,
    originals: Originals<'a>,
    macros: Macros<'a>,
}

impl<'a> Script<'a> {
    /// The script of a turn.
    pub(crate) fn of_turn(card: &'a Card, originals: Originals<'a>, turn: &'a Turn) -> Self {
        Self::new(card, originals, &turn.user, Seeds::new(&turn.id, &turn.conversation))
    }

    /// The script of a conversation that begins.
    pub(crate) fn of_opening(card: &'a Card, originals: Originals<'a>, opening: &'a Opening) -> Self {
        let Opening { user, conversation, .. } = opening;
        Self::new(card, originals, user, Seeds::new(conversation, conversation))
    }

    fn new(card: &'a Card, originals: Originals<'a>, user: &'a User, seeds: Seeds) -> Self {
        let words = [Some(card.user_name.as_str()), originals.user_name.map(str::trim)];
        let word = words.into_iter().flatten().find(|word| !word.is_empty()).unwrap_or("User");
        let macros = Macros::new(card.display_name(), user.name_or(word), seeds);
        Self { card, originals, macros }
    }

    /// The prompt for `message`.
    pub(crate) fn prompt(&self, message: Message, recalled: Recollection) -> Prompt {
        let mut messages = self.stable_messages();
        messages.extend(self.memories(&recalled));
        messages.extend(recalled.messages);
        messages.push(message);
        let original = self.originals.post_history.unwrap_or_default();
        let last = self.text_or_original(
            "card.post_history_instructions",
            &self.card.post_history_instructions,
            original,
        );
        messages.extend(section("card.post_history_instructions", &last));
        Prompt::new(messages)
    }

    /// The first message and its alternatives.
    pub(crate) fn greetings(&self) -> Vec<Message> {
        let first = std::iter::once((&self.card.first_message, "card.first_mes".to_string()));
        let others = self.card.alternate_greetings.iter().enumerate();
        first
            .chain(others.map(|(index, text)| (text, format!("card.alternate_greetings.{index}"))))
            .filter_map(|(text, source)| {
                let text = self.macros.expand(&source, text);
                // A greeting of notes alone says nothing.
                let text = text.trim();
                (!text.is_empty()).then(|| Message::assistant(text).from_source(source))
            })
            .collect()
    }

    /// What of the card does not reach prompts and greetings, in words for the operator.
    pub(crate) fn notes(&self) -> Vec<String> {
        // Macros are noticed where they are expanded.
        self.stable_messages();
        self.greetings();
        self.macros.expand("card.post_history_instructions", &self.card.post_history_instructions);
        let removed = self.macros.removed();
        self.card.notes.iter().cloned().chain(removed.iter().map(ToString::to_string)).collect()
    }

    /// The messages that are the same in every turn, the last of them marked. From the first one on that draws, nothing is.
    fn stable_messages(&self) -> Vec<Message> {
        let Card { description, personality, scenario, .. } = self.card;
        let examples = self.card.example_conversations().join("\n\n[A new conversation]\n");
        let system = self.text_or_original(
            "card.system_prompt",
            &self.card.system_prompt,
            self.originals.system.unwrap_or(SYSTEM),
        );
        let system =
            section("card.system_prompt", &system).map(|message| (message, !self.macros.take_varies()));
        let titled = [
            ("card.description", "Who {{char}} is:", description),
            ("card.personality", "{{char}}'s personality:", personality),
            ("card.scenario", "The scene:", scenario),
            ("card.mes_example", "How {{char}} talks, by example; none of this has happened:", &examples),
        ];
        let titled = titled.into_iter().filter_map(|(source, title, text)| {
            let text = self.macros.expand(source, text);
            let is_stable = !self.macros.take_varies();
            let text = text.trim();
            if text.is_empty() {
                return None;
            }
            let text = format!("{}\n{text}", self.macros.expand(source, title));
            Some((section(source, &text)?, is_stable))
        });
        let (mut messages, stable): (Vec<_>, Vec<_>) = system.into_iter().chain(titled).unzip();
        let prefix = stable.iter().take_while(|is_stable| **is_stable).count();
        if let Some(last) = prefix.checked_sub(1).and_then(|last| messages.get_mut(last)) {
            last.cache = true;
        }
        messages
    }

    /// Returns the card's text with `{{original}}` replaced, or the original if the card has no text.
    fn text_or_original(&self, part: &str, text: &str, original: &str) -> String {
        let original = self.macros.expand(part, original);
        if text.is_empty() { original } else { self.macros.expand_with_original(part, text, &original) }
    }

    fn memories(&self, recalled: &Recollection) -> Option<Message> {
        let lines: Vec<_> =
            recalled.memories.iter().map(|memory| format!("- {}", memory.text.trim())).collect();
        if lines.is_empty() {
            return None;
        }
        let title = "What {{char}} remembers of earlier conversations with {{user}}:";
        let title = self.macros.expand("memories", title);
        let ids: Vec<_> = recalled.memories.iter().map(|memory| memory.id.as_str()).collect();
        let mut message = section("memories", &format!("{title}\n{}", lines.join("\n")))?;
        message.metadata.extend(Property::new("memories", ids));
        Some(message)
    }
}

fn section(source: &str, text: &str) -> Option<Message> {
    let text = text.trim();
    (!text.is_empty()).then(|| Message::system(text).from_source(source))
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
        let turn = testing::turn("Yes, {{char}}.");
        Script::of_turn(card, originals, &turn).prompt(turn.message.clone(), recalled)
    }

    #[test]
    fn the_prompt_has_the_parts_of_the_card_in_order_with_their_sources() {
        let originals = Originals {
            system: Some("Talk to {{user}}."),
            post_history: Some("Be short."),
            ..Originals::default()
        };
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
        let (card, opening) = (card(), testing::opening());
        let greetings = Script::of_opening(&card, Originals::default(), &opening).greetings();
        let said: Vec<_> = greetings.iter().map(|m| (m.role.as_str(), m.text())).collect();
        assert_eq!(said, [("assistant", "Hello Ada.".to_string()), ("assistant", "Ada again.".to_string())]);
    }

    #[test]
    fn a_user_without_a_name_is_called_what_the_card_or_the_operator_says() {
        testing::reset();
        let word = |card_says: &str, operator_says: Option<&str>| {
            let card = Card { first_message: "{{user}}".into(), user_name: card_says.into(), ..card() };
            let originals = Originals { user_name: operator_says, ..Originals::default() };
            Script::of_opening(&card, originals, &testing::opening()).greetings()[0].text()
        };
        assert_eq!(word("", None), "User");
        assert_eq!(word("", Some("traveller")), "traveller");
        assert_eq!(word("", Some(" ")), "User");
        assert_eq!(word("keeper", Some("traveller")), "keeper");
        testing::set_user_name("Ada");
        assert_eq!(word("keeper", Some("traveller")), "Ada");
    }

    #[test]
    fn what_is_blank_once_its_macros_are_replaced_is_left_out() {
        let card = Card {
            name: "Ida".into(),
            description: "{{// a note }}".into(),
            first_message: "{{// a note }}".into(),
            alternate_greetings: vec!["{{comment:later}}".into(), "Hi.{{// a note }} ".into()],
            ..Card::default()
        };
        let prompt = played(&card, Originals::default());
        assert!(prompt.messages.iter().all(|m| m.source.as_deref() != Some("card.description")));
        let opening = testing::opening();
        let greetings = Script::of_opening(&card, Originals::default(), &opening).greetings();
        assert_eq!(greetings.iter().map(Message::text).collect::<Vec<_>>(), ["Hi."]);
    }

    #[test]
    fn a_text_that_changes_from_turn_to_turn_ends_the_cached_prefix() {
        let card = Card { personality: "{{random:brisk,slow}}".into(), scenario: "A shop.".into(), ..card() };
        let prompt = played(&card, Originals::default());
        let cached: Vec<_> = prompt.messages.iter().filter(|m| m.cache).map(|m| m.source.clone()).collect();
        assert_eq!(cached, [Some("card.description".to_string())]);
    }

    #[test]
    fn removed_macros_are_noted_wherever_they_are() {
        let card = Card {
            name: "Ida".into(),
            scenario: "{{time}}".into(),
            alternate_greetings: vec!["{{getvar::x}}".into()],
            notes: vec!["`later` is not used".into()],
            ..Card::default()
        };
        let turn = testing::turn("Hi");
        let notes = Script::of_turn(&card, Originals::default(), &turn).notes();
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(
            notes[0].contains("later") && notes[1].contains("{{getvar}}") && notes[2].contains("{{time}}")
        );
    }
}
