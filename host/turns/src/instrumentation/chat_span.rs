//! The span of one call of a model.

use std::borrow::Cow;
use std::time::Instant;

use masque_runtime::Plugin;
use masque_runtime::contract::{Delta, Prompt};
use masque_store::{ConversationId, UsageRecord};
use masque_telemetry::trace::{SpanKind, SpanParent, TraceSpan, Value};

use super::message_content::{PromptContent, ReplyContent};

/// `chat {model}`, from the debit of the call to its end. The plugin's own call is a step within it.
pub(crate) struct ChatSpan {
    span: TraceSpan,
    began: Instant,
    has_begun: bool,
    /// Present where the span contains what users and models wrote.
    reply: Option<ReplyContent>,
}

impl ChatSpan {
    /// Begins the span of a call of `model`, whose name is that of its entry in the configuration.
    pub(crate) fn begin(
        parent: &SpanParent,
        model: &Plugin,
        prompt: &Prompt,
        conversation: ConversationId,
    ) -> Self {
        let name: Cow<'static, str> = match parent.is_recorded() {
            true => format!("chat {}", model.name()).into(),
            false => "chat".into(),
        };
        let span = parent.span_of_kind(name, SpanKind::Client);
        if span.is_recorded() {
            span.set("gen_ai.operation.name", "chat");
            span.set("gen_ai.provider.name", model.package().description().name.clone());
            span.set("gen_ai.request.model", model.name().to_owned());
            span.set("gen_ai.request.stream", true);
            span.set("gen_ai.conversation.id", conversation.to_string());
        }
        let reply = span.captures_content().then(|| {
            let PromptContent { instructions, messages } = PromptContent::new(prompt);
            span.set("gen_ai.system_instructions", instructions);
            span.set("gen_ai.input.messages", messages);
            ReplyContent::default()
        });
        Self { span, began: Instant::now(), has_begun: false, reply }
    }

    /// For the call of the plugin.
    pub(crate) fn parent(&self) -> SpanParent {
        self.span.parent()
    }

    /// One item of the reply has arrived.
    pub(crate) fn add(&mut self, delta: &Delta) {
        if let Some(reply) = &mut self.reply {
            reply.add(delta);
        }
        if !self.has_begun && !matches!(delta, Delta::Failed(_)) {
            self.has_begun = true;
            self.span.set("gen_ai.response.time_to_first_chunk", self.began.elapsed().as_secs_f64());
        }
    }

    /// The call has ended. `outcome` is `ok`, or a code from a closed list.
    pub(crate) fn end(&self, outcome: &'static str, finish: Option<&'static str>, usage: UsageRecord) {
        if !self.span.is_recorded() {
            return;
        }
        if let Some(finish) = finish {
            self.span.set("gen_ai.response.finish_reasons", string_list(finish));
        }
        if let Some(reply) = &self.reply {
            self.span.set("gen_ai.output.messages", reply.messages(finish));
        }
        set_usage(&self.span, usage);
        match outcome {
            "ok" => {}
            code => self.span.fail(code),
        }
    }
}

/// Sets the tokens of a call or turn.
pub(super) fn set_usage(span: &TraceSpan, usage: UsageRecord) {
    let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    span.set("gen_ai.usage.input_tokens", count(usage.input_tokens));
    span.set("gen_ai.usage.output_tokens", count(usage.output_tokens));
    span.set("gen_ai.usage.cache_read.input_tokens", count(usage.cached_tokens));
    span.set("masque.usage.estimated", usage.estimated);
}

/// A list with one member.
pub(super) fn string_list(value: &'static str) -> Value {
    match Value::from(value) {
        Value::String(value) => Value::Array(vec![value].into()),
        other => other,
    }
}
