//! The things that plugins and the host speak about, with the constructors that make them pleasant to write.
//!
//! The types themselves come from the contract, so that nothing is converted at the border; this room only adds ways
//! to build and to read them.

pub use crate::bindings::types::{
    Blob, Delta, Description, Exchange, Failure, Finish, Message, Opening, Part, Prompt, Property,
    Recollection, Remembered, Reply, Tool, ToolCall, ToolResult, Turn, Usage, User,
};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// What a plugin's functions return: the failure is the contract's own.
pub type Result<T> = std::result::Result<T, Failure>;

impl Message {
    /// A message of `role` with one part of text.
    ///
    /// ```
    /// let message = masque_sdk::Message::new("user", "Hello");
    /// assert_eq!((message.role.as_str(), message.text().as_str()), ("user", "Hello"));
    /// ```
    pub fn new(role: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            id: None,
            role: role.into(),
            parts: vec![Part::Text(text.into())],
            at: None,
            source: None,
            cache: false,
            metadata: Vec::new(),
        }
    }

    /// What the model is told about itself.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new("system", text)
    }

    /// What the user said.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new("user", text)
    }

    /// What the companion said.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new("assistant", text)
    }

    /// Says where the message comes from, for explanations: `card.scenario`, `memory:ID`.
    #[must_use]
    pub fn from_source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says that a prefix which stays the same from turn to turn ends here; a model may let its provider cache it.
    #[must_use]
    pub fn cached(mut self) -> Self {
        self.cache = true;
        self
    }

    /// The message's text parts, one after the other; what is not text is left out.
    pub fn text(&self) -> String {
        self.parts
            .iter()
            .filter_map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }
}

impl Prompt {
    /// A prompt of these messages, without tools and options.
    ///
    /// ```
    /// use masque_sdk::{Message, Prompt};
    /// let prompt = Prompt::new([Message::system("Be brief."), Message::user("Hello")]).option("temperature", 0.7);
    /// assert_eq!(prompt.options[0].json, "0.7");
    /// ```
    pub fn new(messages: impl IntoIterator<Item = Message>) -> Self {
        Self {
            messages: messages.into_iter().collect(),
            tools: Vec::new(),
            options: Vec::new(),
            metadata: Vec::new(),
        }
    }

    /// Adds a message at the end.
    #[must_use]
    pub fn message(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }

    /// Adds messages at the end.
    #[must_use]
    pub fn messages(mut self, messages: impl IntoIterator<Item = Message>) -> Self {
        self.messages.extend(messages);
        self
    }

    /// Wishes something of the model by the names of the chat-completions API: `temperature`, `max_tokens`, `stop`.
    /// A value that JSON cannot express is left out.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.options.extend(Property::new(name, value));
        self
    }
}

impl Property {
    /// A named value as JSON; nothing where JSON cannot express it (a map whose keys are no strings, say).
    pub fn new(name: impl Into<String>, value: impl Serialize) -> Option<Self> {
        serde_json::to_string(&value).ok().map(|json| Self { name: name.into(), json })
    }

    /// The value of that name: an option of a prompt, a piece of metadata. Nothing where it is absent or no `T`; of
    /// several the last counts.
    ///
    /// ```
    /// use masque_sdk::{Prompt, Property};
    /// let prompt = Prompt::new([]).option("max_tokens", 500);
    /// assert_eq!(Property::find(&prompt.options, "max_tokens"), Some(500));
    /// assert_eq!(Property::find::<String>(&prompt.options, "max_tokens"), None);
    /// ```
    pub fn find<T: DeserializeOwned>(properties: &[Self], name: &str) -> Option<T> {
        let property = properties.iter().rfind(|property| property.name == name)?;
        serde_json::from_str(&property.json).ok()
    }
}

impl ToolCall {
    /// A call of the tool `name`. `arguments` is JSON text, as the model wrote it.
    pub fn new(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), arguments: arguments.into(), metadata: Vec::new() }
    }
}

impl Recollection {
    /// These messages and no long-term memories.
    pub fn of(messages: impl IntoIterator<Item = Message>) -> Self {
        Self { messages: messages.into_iter().collect(), memories: Vec::new(), metadata: Vec::new() }
    }
}

impl Default for Recollection {
    fn default() -> Self {
        Self::of([])
    }
}

impl User {
    /// The name, or `fallback` where there is none or it is blank.
    pub fn name_or<'a>(&'a self, fallback: &'a str) -> &'a str {
        self.name.as_deref().map(str::trim).filter(|name| !name.is_empty()).unwrap_or(fallback)
    }
}

impl Usage {
    /// Tokens read and written, none of them from a cache.
    pub fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self { input_tokens, output_tokens, cached_tokens: 0, metadata: Vec::new() }
    }
}

impl Finish {
    /// An end for a reason by its name: `stop`, `length`, `filtered`, `tool_calls`.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), metadata: Vec::new() }
    }

    /// The model had said what it wanted to say.
    pub fn stop() -> Self {
        Self::new("stop")
    }

    /// The model ran into a limit of length.
    pub fn length() -> Self {
        Self::new("length")
    }
}

/// The host puts its own words for the code before a client; `message` goes to the operator's log.
impl Failure {
    /// A failure by its code. For the codes that the host knows there are constructors of their own.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retry_after_ms: None, metadata: Vec::new() }
    }

    /// Says when it is worth trying again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl Failure {$(
            $(#[$doc])*
            pub fn $name(message: impl Into<String>) -> Self {
                Self::new($code, message)
            }
        )*}
    };
}

codes! {
    /// A grant is missing.
    denied = "denied";
    /// Settings or input cannot be used; say which field and what to do.
    invalid = "invalid";
    /// What is needed cannot be reached, or answered with something unusable.
    unavailable = "unavailable";
    /// The credentials are missing or wrong.
    unauthorized = "unauthorized";
    /// Too many requests; add [`Failure::retry_after`] where it is known.
    rate_limited = "rate-limited";
    /// The other side has no room at present.
    overloaded = "overloaded";
    /// It did not begin in time.
    timeout = "timeout";
    /// It began and then fell silent.
    stalled = "stalled";
    /// It ended before it was complete.
    truncated = "truncated";
    /// A content filter stopped it.
    filtered = "filtered";
    /// The prompt is longer than the model's context.
    context_length = "context-length";
    /// Someone else wrote first.
    conflict = "conflict";
    /// There is no such thing.
    not_found = "not-found";
    /// A mistake of the plugin's own.
    internal = "internal";
}
