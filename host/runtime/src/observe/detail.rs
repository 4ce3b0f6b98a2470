//! Describes what a guest asked and was answered: sizes and digests, and texts where the report has room for them.
//!
//! Messages are described by id and digest alone, since they are stored elsewhere. Secrets are redacted from texts.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::capability::PluginStateScope;
use crate::contract::{Message, Part, Prompt, Reply};
use crate::report::{CallReport, ReportBudget};
use crate::secret_matcher::SecretMatcher;

/// The most bytes of a name, as in the record of a turn.
const MAX_NAME_BYTES: usize = 128;

/// Makes the details of one report.
pub(crate) struct Details<'a> {
    texts: &'a ReportBudget,
    items: &'a ReportBudget,
    secrets: &'a SecretMatcher,
}

impl<'a> Details<'a> {
    pub(super) fn new(report: &'a CallReport, secrets: &'a SecretMatcher) -> Self {
        Self { texts: report.texts(), items: report.items(), secrets }
    }

    /// Bytes by size and digest, and as text where they are text.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Value {
        let mut described = Map::new();
        described.insert("bytes".to_owned(), bytes.len().into());
        described.insert("digest".to_owned(), digest_of(bytes).into());
        if !self.texts.is_spent()
            && let Ok(text) = std::str::from_utf8(bytes)
            && self.texts.take(bytes.len())
        {
            described.insert("text".to_owned(), self.secrets.redact(text).into());
        }
        Value::Object(described)
    }

    /// The keys of a page, as many as the report has room for.
    pub(crate) fn keys(&self, keys: &[String]) -> Value {
        keys.iter().take_while(|_| self.items.take(1)).map(|key| self.bytes(key.as_bytes())).collect()
    }

    /// Messages by id, role, size and digest, as many as the report has room for.
    pub(crate) fn messages(&self, messages: &[Message]) -> Value {
        let listed = messages.iter().take_while(|_| self.items.take(1));
        let described = listed.map(|message| {
            json!({
                "id": message.id.as_deref().map(name),
                "role": name(&message.role),
                "bytes": text_bytes(message),
                "digest": message.digest(),
            })
        });
        described.collect()
    }

    /// A prompt: its size, its digest and its texts.
    pub(crate) fn prompt(&self, prompt: &Prompt) -> Value {
        let mut hasher = Sha256::new();
        prompt.messages.iter().for_each(|message| message.hash_into(&mut hasher));
        let bytes: usize = prompt.messages.iter().map(text_bytes).sum();
        let mut described = json!({
            "messages": prompt.messages.len(),
            "bytes": bytes,
            "digest": format!("sha256:{:x}", hasher.finalize()),
        });
        let has_room = !self.texts.is_spent() && self.items.take(prompt.messages.len());
        if has_room && self.texts.take(bytes) {
            let texts = prompt.messages.iter().map(
                |message| json!({ "role": name(&message.role), "text": self.secrets.redact(&text_of(message)) }),
            );
            set(&mut described, "texts", texts.collect());
        }
        described
    }

    /// A reply: its size, its digest, its tokens and its text.
    pub(crate) fn reply(&self, reply: &Reply) -> Value {
        let mut described = json!({
            "bytes": text_bytes(&reply.message),
            "digest": reply.message.digest(),
            "finish": name(&reply.finish.reason),
            "input_tokens": reply.usage.input_tokens,
            "output_tokens": reply.usage.output_tokens,
            "cached_tokens": reply.usage.cached_tokens,
        });
        if !self.texts.is_spent() && self.texts.take(text_bytes(&reply.message)) {
            set(&mut described, "text", self.secrets.redact(&text_of(&reply.message)).into());
        }
        described
    }
}

/// The name of a scope, as in the contract.
pub(crate) fn scope_name(scope: PluginStateScope) -> &'static str {
    match scope {
        PluginStateScope::Conversation => "conversation",
        PluginStateScope::User => "user",
        PluginStateScope::Shared => "shared",
    }
}

/// Adds a field to an object.
pub(crate) fn set(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(name.to_owned(), value);
    }
}

/// What others call a name (a role, an id, a reason), if it looks like one, else its digest: it may be a text instead.
fn name(name: &str) -> String {
    let is_name = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/@#+-".contains(&byte));
    if is_name { name.to_owned() } else { digest_of(name.as_bytes()) }
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

fn text_of(message: &Message) -> String {
    let texts = message.parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(&**text),
        _ => None,
    });
    texts.collect()
}

fn text_bytes(message: &Message) -> usize {
    let texts = message.parts.iter().map(|part| match part {
        Part::Text(text) => text.len(),
        _ => 0,
    });
    texts.sum()
}

#[cfg(test)]
mod tests {
    use masque_grants::Secret;

    use super::*;
    use crate::contract::{Finish, Usage};
    use crate::report::ReportContent;

    #[test]
    fn a_value_is_text_in_full_reports_only_and_never_with_a_secret() {
        let secrets = SecretMatcher::new([Secret::from("sk-secret-1".to_owned())]);
        let described = |content, bytes: &[u8]| {
            let report = CallReport::new(content);
            Details::new(&report, &secrets).bytes(bytes)
        };
        let full = described(ReportContent::Full, b"the key is sk-secret-1");
        assert_eq!(full["text"], "the key is [redacted]");
        let digests = described(ReportContent::Digests, b"tea");
        assert_eq!(digests["text"], Value::Null);
        assert_eq!(digests["bytes"], 3);
        assert!(digests["digest"].as_str().unwrap().starts_with("sha256:"), "{digests}");
        assert_eq!(described(ReportContent::Full, &[0xff])["text"], Value::Null);
    }

    #[test]
    fn messages_are_described_without_their_text() {
        let (report, secrets) = (CallReport::new(ReportContent::Full), SecretMatcher::default());
        let described = Details::new(&report, &secrets).messages(&[Message::new("user", "a secret of mine")]);
        assert!(!described.to_string().contains("secret"), "{described}");
        assert_eq!((&described[0]["role"], &described[0]["bytes"]), (&"user".into(), &16.into()));
    }

    #[test]
    fn what_is_called_a_name_but_is_a_text_is_described_by_its_digest() {
        let (report, secrets) = (CallReport::new(ReportContent::Digests), SecretMatcher::default());
        let details = Details::new(&report, &secrets);
        let message = Message { id: Some("my cat Ada".into()), ..Message::new("my dog Bo", "hello") };
        let reply = Reply {
            message: message.clone(),
            usage: Usage::default(),
            finish: Finish { reason: "my bird Cy".into(), metadata: Vec::new() },
            metadata: Vec::new(),
        };
        for described in [details.messages(&[message]), details.reply(&reply)] {
            let text = described.to_string();
            assert!(!text.contains("my ") && text.contains("sha256:"), "{text}");
        }
    }

    #[test]
    fn of_endless_pages_no_more_is_listed_than_the_report_has_room_for() {
        let (report, secrets) = (CallReport::new(ReportContent::Digests), SecretMatcher::default());
        let details = Details::new(&report, &secrets);
        let page = vec![Message::new("user", "hello"); 1000];
        let listed: Vec<_> = (0..3).map(|_| details.messages(&page).as_array().map_or(0, Vec::len)).collect();
        assert_eq!(listed, [1000, 24, 0]);
    }
}
