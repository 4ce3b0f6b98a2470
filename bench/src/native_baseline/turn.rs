//! Runs a turn in the same order as a host: admission, recall, compose, generate (while the admission is written to disk),
//! commit.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use masque_plugin_card::Player;
use masque_plugin_openai::OpenAi;
use masque_plugin_window::Newest;
use masque_sdk::{Delta, Memory, Message, Persona, Property, Turn, User, testing};
use masque_store::{
    Admission, AdmissionOutcome, Commit, ConversationId, Ending, MessageId, MessageRecord, NewMessage, Owner,
    Started, TailLimit, Target, TurnId, Turns, UsageRecord, title_of,
};
use masque_store_sqlite::SqliteStore;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// Not `Send`: a body stays on its thread.
type Body = Pin<Box<dyn hyper::body::Body<Data = Bytes, Error = Infallible>>>;

const NAME: &str = "elara";
/// The host's default budget of a recall, in tokens.
const BUDGET: u32 = 4096;
const LEASE: Duration = Duration::from_secs(10);
const TAIL: TailLimit = TailLimit { messages: 64, bytes: 64 << 10 };

/// The companion that answers.
pub(super) struct Companion {
    store: Arc<SqliteStore>,
    host: Uuid,
    names: Arc<BTreeSet<String>>,
    /// The settings of the model plugin, as JSON text.
    settings: String,
}

#[derive(Deserialize)]
struct ChatRequest {
    message: String,
    stream: bool,
}

/// An admitted turn.
struct AdmittedTurn {
    owner: Owner,
    started: Started,
    arrived: Instant,
}

/// The part of a reply that has arrived.
#[derive(Default)]
struct Draft {
    text: String,
    usage: UsageRecord,
    finish: Option<String>,
    failure: Option<String>,
    sequence: u64,
}

impl Companion {
    pub(super) fn new(store: Arc<SqliteStore>, model: &str, name: &str) -> Self {
        Self {
            store,
            host: Uuid::now_v7(),
            names: Arc::new(BTreeSet::from([NAME.to_owned()])),
            settings: json!({ "base_url": format!("http://{model}/v1"), "model": name }).to_string(),
        }
    }

    pub(super) async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<Body> {
        match self.turn(request).await {
            Ok(response) => response,
            Err(error) => {
                let mut response = response("text/plain", Box::pin(Full::from(format!("{error:#}"))));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        }
    }

    async fn turn(self: Rc<Self>, request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
        let arrived = Instant::now();
        let body = request.into_body().collect().await?.to_bytes();
        let chat: ChatRequest = serde_json::from_slice(&body)?;
        let owner = Owner {
            tenant: "default".into(),
            issuer: "native-baseline".into(),
            subject: Uuid::from_u128(1).to_string(),
        };
        let admitted = self.store.admit(self.admission(&owner, &chat.message)).await?;
        let AdmissionOutcome::Started(started) = admitted.outcome else { bail!("the turn was not admitted") };
        let turn = AdmittedTurn { owner, started, arrived };

        let (events, reader) = unbounded();
        let reply = self.clone().reply(turn, events, chat.stream);
        if !chat.stream {
            let (durable, reply) = tokio::join!(admitted.durable.wait(), reply);
            durable?;
            return Ok(response("application/json", Box::pin(Full::from(reply?.to_string()))));
        }
        tokio::task::spawn_local(async {
            // The events then end without the last one, which fails the run of the clients.
            if let Err(error) = reply.await {
                eprintln!("a turn of the native baseline failed: {error:#}");
            }
        });
        admitted.durable.wait().await?;
        Ok(response("text/event-stream", events_body(reader)))
    }

    /// Calls the plugins, sends the events, and returns the whole reply once it is on disk.
    async fn reply(
        self: Rc<Self>,
        turn: AdmittedTurn,
        events: UnboundedSender<String>,
        streamed: bool,
    ) -> anyhow::Result<Value> {
        let AdmittedTurn { owner, started, arrived } = turn;
        let mut created = String::new();
        let head = json!({ "turn_id": started.turn.to_string(), "conversation_id": started.conversation.to_string(), "companion": NAME });
        event(&mut created, "turn.created", 1, &head);
        let _client_left = events.unbounded_send(created);
        let turn = contract_turn(&started, &owner);
        testing::set_settings("{}");
        let recalled = testing::load::<Newest>()?.recall(turn.clone(), BUDGET).await?;
        let prompt = testing::load::<Player>()?.compose(turn, recalled).await?;
        testing::set_settings(&self.settings);
        let model: OpenAi = testing::load()?;

        let draft = Rc::new(RefCell::new(Draft { sequence: 1, ..Draft::default() }));
        let written = Rc::clone(&draft);
        let out = events.clone();
        testing::stream(&model, prompt, move |deltas| {
            let more = written.borrow_mut().add(deltas);
            if streamed && let Some(text) = more {
                let mut line = String::new();
                event(&mut line, "reply.delta", written.borrow().sequence, &DeltaData { text: &text });
                return out.unbounded_send(line).is_ok();
            }
            true
        })
        .await?;
        let draft = draft.take();
        let finish = draft.finish.clone().with_context(|| draft.failure.clone().unwrap_or_default())?;
        let response = json!({
            "turn_id": started.turn.to_string(),
            "conversation_id": started.conversation.to_string(),
            "companion": NAME,
            "reply": { "role": "assistant", "content": draft.text },
            "finish": finish,
            "usage": { "input_tokens": draft.usage.input_tokens, "output_tokens": draft.usage.output_tokens, "cached_tokens": 0 },
            "timing": { "total_ms": arrived.elapsed().as_secs_f64() * 1000.0 },
        });
        let commit = Commit {
            owner,
            conversation: started.conversation,
            turn: started.turn,
            epoch: started.epoch,
            reply: NewMessage { id: MessageId::new(), content: draft.text, metadata: json!({}) },
            finish,
            usage: draft.usage,
            response: response.clone(),
            jobs: Vec::new(),
        };
        let Ending::Done { .. } = self.store.commit(commit).await? else { bail!("the lease was lost") };
        let mut completed = String::new();
        event(&mut completed, "turn.completed", draft.sequence + 1, &response);
        let _client_left = events.unbounded_send(completed);
        Ok(response)
    }

    fn admission(&self, owner: &Owner, message: &str) -> Admission {
        Admission {
            owner: owner.clone(),
            host: self.host,
            lease: LEASE,
            turn: TurnId::new(),
            target: Target::New {
                id: ConversationId::new(),
                companion: NAME.to_owned(),
                title: title_of(message),
            },
            companion: Some(NAME.to_owned()),
            companions: Arc::clone(&self.names),
            message: NewMessage { id: MessageId::new(), content: message.to_owned(), metadata: json!({}) },
            idempotency: None,
            resume: false,
            tail: TAIL,
            waiting: None,
        }
    }
}

impl Draft {
    /// Adds deltas that were written together and returns their text, if there is any.
    fn add(&mut self, deltas: Vec<Delta>) -> Option<String> {
        let mut more = String::new();
        for delta in deltas {
            match delta {
                Delta::Text(text) => more.push_str(&text),
                Delta::Usage(usage) => {
                    self.usage = UsageRecord {
                        input_tokens: usage.input_tokens,
                        output_tokens: usage.output_tokens,
                        cached_tokens: usage.cached_tokens,
                        estimated: false,
                    };
                }
                Delta::Finish(finish) => self.finish = Some(finish.reason),
                Delta::Failed(failure) => self.failure = Some(failure.message),
                _ => {}
            }
        }
        self.text.push_str(&more);
        self.sequence += u64::from(!more.is_empty());
        (!more.is_empty()).then_some(more)
    }
}

#[derive(Serialize)]
struct DeltaData<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct EventData<'a, T> {
    #[serde(rename = "type")]
    name: &'a str,
    sequence: u64,
    #[serde(flatten)]
    data: &'a T,
}

fn event<T: Serialize>(text: &mut String, name: &str, sequence: u64, data: &T) {
    let data = serde_json::to_string(&EventData { name, sequence, data }).unwrap_or_default();
    text.extend(["event: ", name, "\nid: ", &sequence.to_string(), "\ndata: ", &data, "\n\n"]);
}

/// Sends events that are ready together in one frame.
fn events_body(reader: UnboundedReceiver<String>) -> Body {
    let ready = reader.ready_chunks(64).map(|lines| Ok(Frame::data(Bytes::from(lines.concat()))));
    Box::pin(StreamBody::new(ready))
}

fn response(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// Converts an admitted turn into the contract's type.
fn contract_turn(started: &Started, owner: &Owner) -> Turn {
    Turn {
        id: started.turn.to_string(),
        attempt: started.attempt,
        conversation: started.conversation.to_string(),
        companion: started.companion.clone(),
        tenant: owner.tenant.clone(),
        user: User {
            id: owner.subject.clone(),
            name: None,
            locale: None,
            timezone: None,
            metadata: Vec::new(),
        },
        message: message(&started.message),
        tail: started.tail.iter().map(message).collect(),
        has_earlier: false,
        now: 0,
        deadline_ms: 60_000,
        metadata: Vec::<Property>::new(),
    }
}

fn message(record: &MessageRecord) -> Message {
    let mut message = Message::new(record.role.clone(), record.content.clone());
    message.id = Some(record.id.to_string());
    message
}
