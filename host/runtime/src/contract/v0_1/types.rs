//! The records and variants of `wit/0.1.0/types.wit`, laid out for the component model. Their documentation is there.
//!
//! They are written out instead of generated, because `bindgen!` knows `String` alone: with `Arc<str>` a value is handed to
//! a guest without copying its text first. Wasmtime checks names, order and types against each component that it links.

use std::sync::Arc;

use wasmtime::component::{ComponentType, HasData, Lift, Linker, Lower};

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Property {
    pub(super) name: Arc<str>,
    pub(super) json: Arc<str>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Blob {
    #[component(name = "media-type")]
    pub(super) media_type: Arc<str>,
    pub(super) uri: Arc<str>,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct ToolCall {
    pub(super) id: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) arguments: Arc<str>,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct ToolResult {
    pub(super) id: Arc<str>,
    pub(super) content: Arc<str>,
    #[component(name = "is-error")]
    pub(super) is_error: bool,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(variant)]
pub enum Part {
    #[component(name = "text")]
    Text(Arc<str>),
    #[component(name = "blob")]
    Blob(Blob),
    #[component(name = "tool-call")]
    ToolCall(ToolCall),
    #[component(name = "tool-result")]
    ToolResult(ToolResult),
    #[component(name = "thinking")]
    Thinking(Arc<str>),
    #[component(name = "other")]
    Other(Property),
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Message {
    pub(super) id: Option<Arc<str>>,
    pub(super) role: Arc<str>,
    pub(super) parts: Vec<Part>,
    pub(super) at: Option<u64>,
    pub(super) source: Option<Arc<str>>,
    pub(super) cache: bool,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Tool {
    pub(super) name: Arc<str>,
    pub(super) description: Arc<str>,
    pub(super) parameters: Arc<str>,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Prompt {
    pub(super) messages: Vec<Message>,
    pub(super) tools: Vec<Tool>,
    pub(super) options: Vec<Property>,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct User {
    pub(super) id: Arc<str>,
    pub(super) name: Option<Arc<str>>,
    pub(super) locale: Option<Arc<str>>,
    pub(super) timezone: Option<Arc<str>>,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Turn {
    pub(super) id: Arc<str>,
    pub(super) attempt: u32,
    pub(super) conversation: Arc<str>,
    pub(super) companion: Arc<str>,
    pub(super) tenant: Arc<str>,
    pub(super) user: User,
    pub(super) message: Message,
    pub(super) tail: Vec<Message>,
    #[component(name = "has-earlier")]
    pub(super) has_earlier: bool,
    pub(super) now: u64,
    #[component(name = "deadline-ms")]
    pub(super) deadline_ms: u64,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Opening {
    pub(super) conversation: Arc<str>,
    pub(super) companion: Arc<str>,
    pub(super) tenant: Arc<str>,
    pub(super) user: User,
    pub(super) now: u64,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Usage {
    #[component(name = "input-tokens")]
    pub(super) input_tokens: u64,
    #[component(name = "output-tokens")]
    pub(super) output_tokens: u64,
    #[component(name = "cached-tokens")]
    pub(super) cached_tokens: u64,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Exchange {
    pub(super) turn: Turn,
    pub(super) reply: Message,
    pub(super) usage: Usage,
    pub(super) interrupted: bool,
    pub(super) attempt: u32,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Remembered {
    pub(super) id: Arc<str>,
    pub(super) text: Arc<str>,
    pub(super) score: Option<f32>,
    pub(super) source: Option<Arc<str>>,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Recollection {
    pub(super) messages: Vec<Message>,
    pub(super) memories: Vec<Remembered>,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Failure {
    pub(super) code: String,
    pub(super) message: String,
    #[component(name = "retry-after-ms")]
    pub(super) retry_after_ms: Option<u64>,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Finish {
    pub(super) reason: String,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(variant)]
pub enum Delta {
    #[component(name = "text")]
    Text(String),
    #[component(name = "thinking")]
    Thinking(String),
    #[component(name = "tool-call")]
    ToolCall(ToolCall),
    #[component(name = "usage")]
    Usage(Usage),
    #[component(name = "finish")]
    Finish(Finish),
    #[component(name = "failed")]
    Failed(Failure),
    #[component(name = "other")]
    Other(Property),
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Reply {
    pub(super) message: Message,
    pub(super) usage: Usage,
    pub(super) finish: Finish,
    pub(super) metadata: Vec<Property>,
}

#[derive(ComponentType, Lower, Lift)]
#[component(record)]
pub struct Description {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) version: String,
    #[component(name = "settings-schema")]
    pub(super) settings_schema: String,
    #[component(name = "state-version")]
    pub(super) state_version: u32,
    pub(super) metadata: Vec<Property>,
}

/// An interface of types has no functions. `bindgen!` expects these three items of every interface that it imports.
pub trait Host {}

pub trait HostWithStore<T>: HasData {}

pub fn add_to_linker<T, D>(_: &mut Linker<T>, _: fn(&mut T) -> D::Data<'_>) -> wasmtime::Result<()>
where
    T: 'static,
    D: HostWithStore<T>,
    for<'a> D::Data<'a>: Host,
{
    Ok(())
}
