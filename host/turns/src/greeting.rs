//! The greeting of a companion: the first message of a new conversation, before the user has said anything.

use std::sync::Arc;
use std::time::Instant;

use masque_companions::{ActiveSet, Companion};
use masque_problem::{Kind, Problem};
use masque_runtime::contract::{Message, Opening};
use masque_runtime::{MessageTexts, PluginKind};
use masque_store::MessageId;
use masque_telemetry::trace::SpanParent;

use crate::admission::find_companion;
use crate::capabilities::{Capabilities, ConversationContext, KnownHistory};
use crate::clock::now_ms;
use crate::contract;
use crate::failure::{call_problem, log_failed_call};
use crate::host::Host;
use crate::metering::UsageMeter;
use crate::records::CallLog;
use crate::request::GreetingRequest;

impl Host {
    /// The text of the greeting that is asked for. `None` if the companion has no greetings and no index was given.
    pub(crate) async fn greeting(&self, request: GreetingRequest) -> Result<Option<String>, Problem> {
        let set = self.active.current();
        let companion = find_companion(&set, &request.companion)?;
        let persona = &companion.persona;
        let index = request.index;
        let greetings = if persona.package().greets() {
            let root = self.options.tracer.begin(request.trace, format!("greeting {}", companion.name));
            let span = root.span();
            if span.is_recorded() {
                span.set("gen_ai.agent.name", companion.name.clone());
                span.set("gen_ai.conversation.id", request.conversation.to_string());
            }
            let greetings = self.ask_for_greetings(&set, companion, request, root.parent()).await;
            if let Err(problem) = &greetings {
                root.span().fail(problem.kind.name());
            }
            root.finish(greetings.is_err());
            greetings?
        } else {
            Vec::new()
        };
        match (greetings.get(index.unwrap_or(0)), index) {
            (Some(greeting), _) => {
                let text = contract::message_text(greeting);
                let max = self.options.max_reply_bytes;
                if text.len() > max {
                    // It would be stored, and handed to plugins with every turn.
                    let (plugin, bytes) = (persona.name(), text.len());
                    tracing::warn!(
                        plugin,
                        bytes,
                        max,
                        "a greeting is longer than a reply may be (`reply_bytes`)"
                    );
                    return Err(Kind::PluginFailed.into());
                }
                Ok(Some(text))
            }
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Problem::new(Kind::InvalidRequest, offered_greetings(greetings.len()))
                .with("field", "greeting")),
        }
    }

    /// Calls the persona, below `trace`.
    async fn ask_for_greetings(
        &self,
        set: &ActiveSet,
        companion: &Companion,
        request: GreetingRequest,
        trace: SpanParent,
    ) -> Result<Vec<Message>, Problem> {
        let GreetingRequest { owner, profile, conversation, accounts, .. } = request;
        let persona = &companion.persona;
        let opening = Opening {
            conversation: conversation.to_string().into(),
            companion: companion.name.as_str().into(),
            tenant: owner.tenant.as_str().into(),
            user: contract::user(&owner, &profile),
            now: now_ms(),
            metadata: Vec::new(),
        };
        let meter = UsageMeter::new(Arc::clone(&self.budgets), accounts, &companion.name, conversation);
        let context = ConversationContext {
            store: self.store.clone(),
            owner,
            conversation,
            fence: None,
            history: KnownHistory {
                own_message: MessageId::new(),
                own_sequence: 0,
                is_stored: false,
                tail: Vec::new(),
            },
            meter: Arc::clone(&meter),
            calls: CallLog::unrecorded(),
        };
        let capabilities = Capabilities::new(context, companion.models.first().cloned());
        let call = capabilities.call(persona, Instant::now() + self.options.timeout, trace);
        persona.greet(call, &opening).await.map_err(|error| {
            log_failed_call(&error, &set.redactor, &MessageTexts::default());
            match meter.refusal() {
                Some(refusal) => refusal.problem(),
                None => call_problem(PluginKind::Persona, &error),
            }
        })
    }
}

/// Which values of `greeting` are allowed, as a sentence.
fn offered_greetings(count: usize) -> String {
    match count {
        0 => "The companion has no greetings; leave `greeting` out.".into(),
        1 => "The companion has one greeting: `greeting` is 0.".into(),
        _ => format!("The companion has {count} greetings: `greeting` is 0 to {}.", count - 1),
    }
}
