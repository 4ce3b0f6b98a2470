//! An explanation as text for a terminal. Pure.

use masque_api::{
    ExplainedMemory, ExplainedMessage, ExplainedPrompt, ExplainedRecollection, ExplainedReply, ExplainedStep,
    Explanation,
};

use super::terminal::{Style, bytes, millis, printable};

/// The explanation in lines.
pub(super) fn text(explained: &Explanation, style: Style) -> String {
    let mut lines = Lines { text: String::new(), style };
    lines.head(explained);
    lines.message("Message", &explained.message);
    if let Some(recalled) = &explained.recalled {
        lines.recollection(recalled);
    }
    if let Some(prompt) = &explained.prompt {
        lines.begin("Prompt");
        lines.prompt(prompt, "  ");
    }
    if let Some(reply) = &explained.reply {
        lines.reply(reply);
    }
    lines.begin("Steps");
    for step in &explained.steps {
        lines.step(step);
    }
    lines.text.truncate(lines.text.trim_end().len());
    lines.text
}

struct Lines {
    text: String,
    style: Style,
}

impl Lines {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn begin(&mut self, title: &str) {
        let title = self.style.heading(title);
        self.line("");
        self.line(&title);
    }

    fn head(&mut self, explained: &Explanation) {
        let style = self.style;
        let problem = explained.problem.as_deref().map(|kind| format!(" ({})", printable(kind)));
        self.line(&format!(
            "{} {}: {}{}",
            style.heading("Turn"),
            explained.turn_id,
            style.outcome(&explained.outcome),
            problem.unwrap_or_default(),
        ));
        let timing = &explained.timing;
        let times = [
            ("total", timing.total_ms),
            ("first content", timing.first_content_ms),
            ("host", timing.host_ms),
            ("models", timing.upstream_ms),
        ];
        let times = times.into_iter().filter_map(|(name, time)| Some(format!("{name} {}", millis(time?))));
        let usage = &explained.usage;
        let estimate = if usage.estimated { ", estimated" } else { "" };
        let generation = explained.generation.map(|number| number.to_string());
        let notes = if explained.truncated { ", without texts beyond its limit" } else { "" };
        for (name, value) in [
            ("companion", printable(&explained.companion).into_owned()),
            ("conversation", explained.conversation_id.to_string()),
            ("started", format!("{}, attempt {}", explained.started_at, explained.attempt)),
            ("time", times.collect::<Vec<_>>().join(", ")),
            (
                "tokens",
                format!(
                    "{} in ({} cached), {} out{estimate}",
                    usage.input_tokens, usage.cached_tokens, usage.output_tokens
                ),
            ),
            ("request", printable(&explained.request_id).into_owned()),
            ("trace", printable(&explained.trace_id).into_owned()),
            ("host", printable(explained.host.as_deref().unwrap_or_default()).into_owned()),
            ("generation", generation.unwrap_or_default()),
            ("record", format!("{}{notes}", printable(&explained.recorded))),
        ] {
            if !value.is_empty() {
                self.line(&format!("  {name:<13} {value}"));
            }
        }
    }

    fn message(&mut self, title: &str, message: &ExplainedMessage) {
        self.begin(title);
        self.listed_message(message, "  ");
    }

    fn recollection(&mut self, recalled: &ExplainedRecollection) {
        self.begin(&format!("Recalled by {}", printable(&recalled.plugin)));
        let budget = recalled.budget_tokens.map(|budget| format!(" of {budget}")).unwrap_or_default();
        self.line(&format!("  {}{budget} tokens", recalled.tokens));
        for memory in &recalled.memories {
            self.memory(memory);
        }
        for message in &recalled.messages {
            self.listed_message(message, "  ");
        }
    }

    fn memory(&mut self, memory: &ExplainedMemory) {
        let score = memory.score.map_or_else(|| "–".to_owned(), |score| format!("{score:.3}"));
        let source = memory.source.as_deref().map(|source| format!(" from {}", printable(source)));
        let (id, source) = (memory.id.as_deref().unwrap_or_default(), source.unwrap_or_default());
        self.line(&format!("  score {score}  memory {}{source}, {} tokens", printable(id), memory.tokens));
        self.absence(memory.deleted, memory.not_looked_up, "      ");
        self.body(memory.text.as_deref(), "      ");
    }

    fn prompt(&mut self, prompt: &ExplainedPrompt, indent: &str) {
        self.line(&format!("{indent}{} tokens", prompt.tokens));
        for source in &prompt.sources {
            let name = printable(&source.source);
            self.line(&format!("{indent}  {:>7}  {name} ({})", source.tokens, source.count));
        }
        for message in &prompt.messages {
            self.listed_message(message, indent);
        }
        for tool in &prompt.tools {
            let name = tool.name.as_deref().unwrap_or("?");
            self.line(&format!("{indent}tool {}, {} tokens", printable(name), tool.tokens));
            self.body(tool.text.as_deref(), &format!("{indent}    "));
        }
        if let Some(options) = &prompt.options {
            self.line(&format!("{indent}options {}", printable(&options.to_string())));
        }
    }

    fn listed_message(&mut self, message: &ExplainedMessage, indent: &str) {
        let source = message.source.as_deref().map(|source| format!(" {}", printable(source)));
        let id = message.id.as_deref().map(|id| self.style.faint(&format!(" {}", printable(id))));
        let (source, id) = (source.unwrap_or_default(), id.unwrap_or_default());
        let cache = if message.cache { ", cached up to here" } else { "" };
        let role = printable(&message.role);
        self.line(&format!("{indent}[{role}]{source}{id}, {} tokens{cache}", message.tokens));
        let body = format!("{indent}    ");
        self.absence(message.deleted, message.not_looked_up, &body);
        self.body(message.text.as_deref(), &body);
        for part in &message.parts {
            let name = part.name.as_deref().or(part.media_type.as_deref()).unwrap_or_default();
            if part.r#type != "text" {
                self.line(&format!(
                    "{body}{} {}, {} tokens",
                    printable(&part.r#type),
                    printable(name),
                    part.tokens
                ));
            }
            self.body(part.text.as_deref(), &body);
        }
    }

    fn reply(&mut self, reply: &ExplainedReply) {
        self.begin("Reply");
        let finish = reply.finish.as_deref().unwrap_or("cut off");
        self.line(&format!("  {} tokens, {}", reply.tokens, printable(finish)));
        self.body(reply.text.as_deref(), "      ");
    }

    fn step(&mut self, step: &ExplainedStep) {
        let style = self.style;
        let asked = step.asked_by.as_deref().map(|plugin| format!(" for {}", printable(plugin)));
        self.line(&format!(
            "  {} {} {}{}: {}",
            style.heading(&printable(&step.function)),
            printable(&step.plugin),
            printable(&step.version),
            asked.unwrap_or_default(),
            style.outcome(&step.outcome),
        ));
        self.line(&format!(
            "      at {}, {} of wall time, {} of CPU time, instance in {}, {} of memory",
            millis(step.started_ms),
            millis(step.wall_ms),
            millis(step.cpu_ms),
            millis(step.instantiation_ms),
            bytes(step.peak_memory_bytes),
        ));
        self.line(&style.faint(&format!("      {}", printable(&step.digest))));
        if let Some(settings) = &step.settings_digest {
            self.line(&style.faint(&format!("      settings {}", printable(settings))));
        }
        if let Some(grants) = step.grants.as_ref().filter(|grants| !grants.is_empty()) {
            self.line(&format!("      grants {}", printable(&grants.join(", "))));
        }
        if let Some(limits) = &step.limits {
            self.line(&format!("      limits {}", printable(&limits.to_string())));
        }
        if let Some(prompt) = &step.prompt {
            self.prompt(prompt, "      ");
        }
        for call in &step.host_calls {
            let (interface, operation) = (printable(&call.interface), printable(&call.operation));
            let (time, outcome) = (millis(call.wall_ms), style.outcome(&call.outcome));
            self.line(&format!("      {interface} {operation}: {outcome}, {time}"));
            if let Some(detail) = call.detail.as_ref().filter(|detail| !detail.is_null()) {
                self.line(&style.faint(&format!("          {}", printable(&detail.to_string()))));
            }
        }
        if step.host_calls_dropped > 0 {
            self.line(&format!("      and {} more requests to the host", step.host_calls_dropped));
        }
    }

    /// Why there is no text, if there is a reason.
    fn absence(&mut self, is_deleted: bool, is_not_looked_up: bool, indent: &str) {
        let why = match (is_deleted, is_not_looked_up) {
            (true, _) => "(deleted)",
            (false, true) => "(not looked up: the record names too many messages)",
            (false, false) => return,
        };
        let why = self.style.faint(why);
        self.line(&format!("{indent}{why}"));
    }

    /// A text of several lines, if there is one.
    fn body(&mut self, text: Option<&str>, indent: &str) {
        for line in text.unwrap_or_default().lines() {
            self.line(&format!("{indent}{}", printable(line)));
        }
    }
}

#[cfg(test)]
mod tests;
