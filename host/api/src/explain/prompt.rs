//! A prompt by its parts and by where they come from. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::content_access::ContentAccess;
use super::recorded::{RecordedMessage, RecordedTool, list, number};
use super::stored::StoredTexts;
use super::view::{ExplainedMessage, ExplainedPrompt, ExplainedSource, ExplainedTool};

/// A prompt in a record.
pub(super) fn prompt(recorded: &Value, texts: &StoredTexts, access: ContentAccess) -> ExplainedPrompt {
    let messages: Vec<_> =
        list(recorded, "messages").map(|recorded| message(recorded, texts, access)).collect();
    let tools: Vec<_> = list(recorded, "tools").map(|recorded| tool(recorded, access)).collect();
    ExplainedPrompt {
        tokens: number(recorded, "tokens").unwrap_or_default(),
        sources: sources(&messages, &tools),
        messages,
        tools,
        options: recorded.get("options").filter(|_| access.shows_content()).cloned(),
    }
}

/// A message of the conversation, or one that a plugin made.
pub(super) fn message(
    recorded: RecordedMessage,
    texts: &StoredTexts,
    access: ContentAccess,
) -> ExplainedMessage {
    let mut message = texts.message(&recorded);
    if access.shows_content() && message.text.is_none() && !message.deleted && !message.not_looked_up {
        message.digest = recorded.digest;
        message.parts = recorded.parts.into_iter().map(Into::into).collect();
    }
    message
}

fn tool(recorded: RecordedTool, access: ContentAccess) -> ExplainedTool {
    let RecordedTool { name, digest, bytes, tokens, text } = recorded;
    match access.shows_content() {
        true => ExplainedTool { bytes, tokens, name, text, digest },
        false => ExplainedTool { bytes, tokens, ..ExplainedTool::default() },
    }
}

/// The tokens by source, the most first.
fn sources(messages: &[ExplainedMessage], tools: &[ExplainedTool]) -> Vec<ExplainedSource> {
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let of_messages = messages.iter().map(|message| (source_of(message), message.tokens));
    let of_tools = tools.iter().map(|tool| ("tools", tool.tokens));
    for (source, tokens) in of_messages.chain(of_tools) {
        let (count, sum) = sums.entry(source).or_default();
        (*count, *sum) = (*count + 1, sum.saturating_add(tokens));
    }
    let named =
        |(source, (count, tokens)): (&str, _)| ExplainedSource { source: source.to_owned(), count, tokens };
    let mut sources: Vec<_> = sums.into_iter().map(named).collect();
    sources.sort_by_key(|source| Reverse(source.tokens));
    sources
}

fn source_of(message: &ExplainedMessage) -> &str {
    let is_of_conversation = message.id.as_deref().is_some_and(|id| Uuid::try_parse(id).is_ok());
    match &message.source {
        // All of `memory:ID` are one source.
        Some(source) => source.split_once(':').map_or(source.as_str(), |(kind, _)| kind),
        None if is_of_conversation => "conversation",
        None => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_summed_by_source_and_the_most_come_first() {
        let of = |source: Option<&str>, id: Option<&str>, tokens| ExplainedMessage {
            source: source.map(str::to_owned),
            id: id.map(str::to_owned),
            tokens,
            ..ExplainedMessage::default()
        };
        let id = Some("01998a3e-7c1f-7d52-9b7e-3f1d00000000");
        let messages = [
            of(Some("card.scenario"), None, 40),
            of(Some("memory:1"), None, 3),
            of(Some("memory:2"), None, 4),
            of(None, id, 90),
            of(None, Some("mine"), 1),
        ];
        let tools = [ExplainedTool { tokens: 2, ..ExplainedTool::default() }];
        let seen: Vec<_> = sources(&messages, &tools)
            .into_iter()
            .map(|source| (source.source, source.count, source.tokens))
            .collect();
        let wanted = [
            ("conversation", 1, 90),
            ("card.scenario", 1, 40),
            ("memory", 2, 7),
            ("tools", 1, 2),
            ("other", 1, 1),
        ];
        assert_eq!(seen, wanted.map(|(source, count, tokens)| (source.to_owned(), count, tokens)));
    }
}
