//! The types of the contract between plugin and host, with constructors and accessors.
//!
//! The types are those that wit-bindgen generates, so a call converts nothing.

pub use crate::bindings::types::{
    Blob, Delta, Description, Exchange, Failure, Finish, Message, Opening, Part, Prompt, Property,
    Recollection, Remembered, Reply, Tool, ToolCall, ToolResult, Turn, Usage, User,
};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// Metadata of the user in a trial call.
pub(crate) const TRIAL: &str = "trial";
/// Metadata of a prompt or a recollection: a list of warnings.
const WARNINGS: &str = "warnings";
/// Metadata of a failure: the setting that can't be used, as a JSON pointer.
const SETTING: &str = "setting";

/// The result of a plugin's functions. The failure is the contract's.
pub type Result<T> = std::result::Result<T, Failure>;

impl Message {
    /// Makes a message of this role with one part of text.
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

    /// Makes a system message: an instruction for the model.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new("system", text)
    }

    /// Makes a message of the user.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new("user", text)
    }

    /// Makes a message of the companion.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new("assistant", text)
    }

    /// Sets where the message comes from, for the explanation of a turn: `card.scenario`, `memory:ID`.
    #[must_use]
    pub fn from_source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Marks the end of a prefix that is the same in every turn. A model may let its provider cache the prefix.
    #[must_use]
    pub fn cached(mut self) -> Self {
        self.cache = true;
        self
    }

    /// Returns the text parts of the message, joined. Leaves out the other parts.
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

/// Adds warnings for the operator to the metadata of a prompt or a recollection. Without warnings it stays as it is.
fn add_warnings(metadata: &mut Vec<Property>, warnings: impl IntoIterator<Item = String>) {
    let warnings: Vec<_> = warnings.into_iter().collect();
    if !warnings.is_empty() {
        metadata.extend(Property::new(WARNINGS, warnings));
    }
}

impl Prompt {
    /// Makes a prompt of these messages, without tools and options.
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

    /// Adds warnings for the operator. The host reads them in the trial of the settings alone; see [`Turn::is_trial`].
    #[must_use]
    pub fn warnings(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        add_warnings(&mut self.metadata, warnings);
        self
    }

    /// Sets an option for the model. Names are those of the chat-completions API: `temperature`, `max_tokens`, `stop`.
    /// Leaves out a value that JSON can't express.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.options.extend(Property::new(name, value));
        self
    }
}

impl Property {
    /// Makes a named value as JSON. Returns `None` if JSON can't express it, for example a map whose keys are not strings.
    pub fn new(name: impl Into<String>, value: impl Serialize) -> Option<Self> {
        serde_json::to_string(&value).ok().map(|json| Self { name: name.into(), json })
    }

    /// Returns the value of this name, such as an option of a prompt. `None` if it is absent or not a `T`. If there are
    /// several, the last one counts.
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
    /// Makes a call of the tool `name`. `arguments` is the JSON text that the model wrote.
    pub fn new(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), arguments: arguments.into(), metadata: Vec::new() }
    }
}

impl Recollection {
    /// Makes a recollection of these messages, without long-term memories.
    pub fn of(messages: impl IntoIterator<Item = Message>) -> Self {
        Self { messages: messages.into_iter().collect(), memories: Vec::new(), metadata: Vec::new() }
    }

    /// Returns the long-term memories as one system message, each on a line of its own. `None` if there are none. A prompt
    /// without them drops what the memory plugin remembers.
    ///
    /// ```
    /// use masque_sdk::{Recollection, Remembered};
    ///
    /// let mut recalled = Recollection::default();
    /// assert!(recalled.memory_message().is_none());
    /// let (id, text) = ("m1".to_owned(), "Likes rye.".to_owned());
    /// recalled.memories.push(Remembered { id, text, score: None, source: None, metadata: Vec::new() });
    /// assert_eq!(recalled.memory_message().unwrap().text(), "What you remember:\n- Likes rye.");
    /// ```
    pub fn memory_message(&self) -> Option<Message> {
        let lines: Vec<_> = self.memories.iter().map(|memory| format!("- {}", memory.text.trim())).collect();
        (!lines.is_empty()).then(|| Message::system(format!("What you remember:\n{}", lines.join("\n"))))
    }

    /// Adds warnings for the operator. The host reads them in the trial of the settings alone; see [`Turn::is_trial`].
    #[must_use]
    pub fn warnings(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        add_warnings(&mut self.metadata, warnings);
        self
    }
}

impl Default for Recollection {
    fn default() -> Self {
        Self::of([])
    }
}

impl User {
    /// Returns the user's name, or `fallback` if it is missing or blank.
    pub fn name_or<'a>(&'a self, fallback: &'a str) -> &'a str {
        self.name.as_deref().map(str::trim).filter(|name| !name.is_empty()).unwrap_or(fallback)
    }
}

impl Turn {
    /// Whether the host only tries whether the settings can be used: before it takes them into use, it calls the plugin
    /// with a made-up turn, without network and models, and with an empty state whose writes are dropped. Nothing that is
    /// returned reaches a user.
    ///
    /// A plugin needs to know this only if it has warnings, for [`Prompt::warnings`] or [`Recollection::warnings`].
    pub fn is_trial(&self) -> bool {
        Property::find(&self.user.metadata, TRIAL) == Some(true)
    }
}

impl Opening {
    /// Whether the host only tries whether the settings can be used. See [`Turn::is_trial`].
    pub fn is_trial(&self) -> bool {
        Property::find(&self.user.metadata, TRIAL) == Some(true)
    }
}

impl Usage {
    /// Makes a count of tokens read and written, none of them read from a cache.
    pub fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self { input_tokens, output_tokens, cached_tokens: 0, metadata: Vec::new() }
    }
}

impl Finish {
    /// Makes an end with this reason: `stop`, `length`, `filtered` or `tool_calls`.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), metadata: Vec::new() }
    }

    /// The model completed the reply.
    pub fn stop() -> Self {
        Self::new("stop")
    }

    /// The reply reached a limit of length.
    pub fn length() -> Self {
        Self::new("length")
    }
}

/// Clients see the host's text for the code. `message` goes to the operator's log only.
impl Failure {
    /// Makes a failure with this code. Codes that the host knows have a constructor each.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retry_after_ms: None, metadata: Vec::new() }
    }

    /// Makes the failure `invalid` of a setting that can't be used, which keeps the host from taking the settings into use.
    /// `setting` is a JSON pointer into the settings, such as `/card`.
    pub fn invalid_setting(setting: &str, message: impl Into<String>) -> Self {
        let mut failure = Self::new("invalid", message);
        failure.metadata.extend(Property::new(SETTING, setting));
        failure
    }

    /// Sets after which time the caller may try again.
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
    /// Settings or input are wrong. The message should name the field and what to do. For a setting, use
    /// [`Failure::invalid_setting`].
    invalid = "invalid";
    /// A service that the plugin needs can't be reached, or its answer is unusable.
    unavailable = "unavailable";
    /// The credentials are missing or wrong.
    unauthorized = "unauthorized";
    /// Too many requests. Add [`Failure::retry_after`] if the time is known.
    rate_limited = "rate-limited";
    /// The service has no capacity at present.
    overloaded = "overloaded";
    /// The answer did not begin in time.
    timeout = "timeout";
    /// The answer began, and then no more of it arrived in time.
    stalled = "stalled";
    /// The answer ended before it was complete.
    truncated = "truncated";
    /// A content filter stopped the answer.
    filtered = "filtered";
    /// The prompt is longer than the model's context.
    context_length = "context-length";
    /// The value was changed by another write.
    conflict = "conflict";
    /// What was asked for does not exist.
    not_found = "not-found";
    /// A fault of the plugin.
    internal = "internal";
}
