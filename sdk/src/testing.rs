//! A host in memory, for tests of a plugin where it is written.
//!
//! Each thread has its own, and so each test: what is set here is what the plugin's calls find, and what the plugin did
//! can be looked at afterwards. [`reset`] forgets all of it.
//!
//! ```
//! use masque_sdk::{state, testing};
//!
//! testing::set_user_name("Ada");
//! let turn = testing::turn("Good morning");
//! assert_eq!(turn.user.name.as_deref(), Some("Ada"));
//! ```

use crate::http::Error;
use crate::http::canned::{Canned, Sent, Transport};
use crate::reply::ReplyWriter;
use crate::{
    Delta, Exchange, Failure, Finish, Message, Model, Opening, Prompt, Reply, Result, Turn, Usage, User,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

pub use crate::http::canned::{Canned as HttpResponse, Live as HttpStream, Sent as HttpRequest};

#[derive(Default)]
struct World {
    user_name: Option<String>,
    settings: Option<String>,
    state: BTreeMap<(u8, String), (Vec<u8>, u64)>,
    history: Vec<Message>,
    denied: BTreeSet<String>,
    replies: VecDeque<Result<Reply>>,
    log: Vec<LogLine>,
    responses: VecDeque<Canned>,
    requests: Vec<Sent>,
    transport: Option<Transport>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

fn world<T>(act: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(act)
}

/// A line that the plugin logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The text.
    pub message: String,
    /// The structured fields.
    pub fields: Vec<(String, String)>,
}

/// Forgets everything that was set and done on this thread.
pub fn reset() {
    world(|world| *world = World::default());
}

/// Runs a plugin's function to its end.
///
/// Nothing here waits for anything outside, so this never blocks.
///
/// # Panics
/// Where the future waits for something that no one on this thread will ever bring.
#[allow(clippy::panic, reason = "this is how a test says that it cannot go on")]
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("the future waits for something that does not happen in a test")
}

/// What a model said in answer to a prompt: the deltas in their order, the last of them `finish` or `failed`.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Everything that the host would have read.
    pub deltas: Vec<Delta>,
}

impl Answer {
    /// The reply's text.
    pub fn text(&self) -> String {
        self.deltas
            .iter()
            .filter_map(|delta| if let Delta::Text(text) = delta { Some(text.as_str()) } else { None })
            .collect()
    }

    /// Why it ended, where it did so well.
    pub fn finish(&self) -> Option<&str> {
        self.deltas.iter().find_map(|delta| {
            if let Delta::Finish(Finish { reason, .. }) = delta { Some(reason.as_str()) } else { None }
        })
    }

    /// Why it failed after it had begun.
    pub fn failure(&self) -> Option<&Failure> {
        self.deltas
            .iter()
            .find_map(|delta| if let Delta::Failed(failure) = delta { Some(failure) } else { None })
    }

    /// The last report of tokens.
    pub fn usage(&self) -> Option<&Usage> {
        self.deltas
            .iter()
            .rev()
            .find_map(|delta| if let Delta::Usage(usage) = delta { Some(usage) } else { None })
    }
}

/// Lets a model answer, as the host would.
///
/// # Errors
/// What the model failed with before it said anything; a later failure is the answer's last delta.
pub fn answer<M: Model>(model: &M, prompt: Prompt) -> Result<Answer> {
    let read = Rc::new(RefCell::new(Vec::new()));
    let sink = Rc::clone(&read);
    run(stream(model, prompt, move |deltas| {
        sink.borrow_mut().extend(deltas);
        true
    }))?;
    Ok(Answer { deltas: read.take() })
}

/// Lets a model answer and reads along: `read` gets what is written together as soon as it is written, the last time with
/// `finish` or `failed`, and says whether it wants more. Waits where the model waits, on any executor.
///
/// # Errors
/// What the model failed with before it said anything.
pub async fn stream<M: Model>(
    model: &M,
    prompt: Prompt,
    read: impl FnMut(Vec<Delta>) -> bool + 'static,
) -> Result<()> {
    let (begin, mut begun) = futures::channel::oneshot::channel();
    let mut reply = ReplyWriter::new(Box::new(read), begin);
    let outcome = model.generate(prompt, &mut reply).await;
    reply.end(outcome).await;
    begun
        .try_recv()
        .ok()
        .flatten()
        .unwrap_or_else(|| Err(Failure::truncated("the model ended without a word")))
}

/// The user's name in the turns that [`turn`] makes.
pub fn set_user_name(name: &str) {
    world(|world| world.user_name = Some(name.into()));
}

/// What the plugin's settings are, as JSON text.
pub fn set_settings(json: &str) {
    world(|world| world.settings = Some(json.into()));
}

/// Reads the settings as the host's call would: the plugin made of them, or what is wrong.
///
/// # Errors
/// `invalid`, naming the setting.
pub fn load<P: crate::Plugin>() -> Result<P> {
    crate::settings::load()
}

/// What [`history`](crate::history) finds, oldest first; messages without an id get one.
pub fn set_history(messages: impl IntoIterator<Item = Message>) {
    let numbered = messages.into_iter().enumerate().map(|(index, mut message)| {
        message.id.get_or_insert_with(|| format!("message-{index}"));
        message
    });
    world(|world| world.history = numbered.collect());
}

/// Takes a grant away, by its name in the configuration: `state`, `state_shared`, `history` or `models`.
pub fn deny(grant: &str) {
    world(|world| world.denied.insert(grant.into()));
}

/// Queues a reply for [`models::ask`](crate::models::ask).
pub fn reply_with(text: &str) {
    let reply = Reply {
        message: Message::assistant(text),
        usage: Usage::new(0, 0),
        finish: Finish::stop(),
        metadata: Vec::new(),
    };
    world(|world| world.replies.push_back(Ok(reply)));
}

/// Queues a response for the next HTTP request.
pub fn respond(response: HttpResponse) {
    world(|world| world.responses.push_back(response));
}

/// Sends this thread's HTTP requests on, in the place of queued responses: to a server that a test started, say. They are
/// not among [`requests`].
///
/// ```
/// use masque_sdk::http::Request;
/// use masque_sdk::testing::{self, HttpStream};
///
/// testing::set_transport(|request| async move {
///     let body = futures::stream::iter([Ok(request.url.into_bytes())]);
///     Ok(HttpStream::new(200, [("content-type", "text/plain")], body))
/// });
/// let body = testing::run(async { Request::get("https://example.org/").send().await?.bytes(100).await });
/// assert_eq!(body.unwrap(), b"https://example.org/");
/// ```
pub fn set_transport<F>(transport: impl Fn(HttpRequest) -> F + 'static)
where
    F: Future<Output = std::result::Result<HttpStream, Error>> + 'static,
{
    world(|world| world.transport = Some(Rc::new(move |request| Box::pin(transport(request)))));
}

/// The HTTP requests that were sent, in their order.
pub fn requests() -> Vec<HttpRequest> {
    world(|world| world.requests.clone())
}

/// The lines that were logged, in their order.
///
/// Those of `tracing` and `log` are among them after [`capture_logs`].
pub fn logged() -> Vec<LogLine> {
    world(|world| world.log.clone())
}

/// Sends what `tracing` and `log` get to [`logged`], as in a component. Holds for the whole process.
pub fn capture_logs() {
    crate::log::install();
}

/// A turn in which the user says `text`, without anything before it.
pub fn turn(text: &str) -> Turn {
    Turn {
        id: "turn-1".into(),
        attempt: 1,
        conversation: "conversation-1".into(),
        companion: "companion".into(),
        tenant: "default".into(),
        user: user(),
        message: Message::user(text),
        tail: Vec::new(),
        has_earlier: false,
        now: 1_790_000_000_000,
        deadline_ms: 60_000,
        metadata: Vec::new(),
    }
}

/// A conversation about to begin.
pub fn opening() -> Opening {
    Opening {
        conversation: "conversation-1".into(),
        companion: "companion".into(),
        tenant: "default".into(),
        user: user(),
        now: 1_790_000_000_000,
        metadata: Vec::new(),
    }
}

/// An exchange that went well, for an [`Observer`](crate::Observer) or a [`Reflector`](crate::Reflector): the user said
/// `text`, the companion said `reply`.
///
/// ```
/// let mut exchange = masque_sdk::testing::exchange("Good morning", "Good mor");
/// exchange.interrupted = true;
/// assert_eq!(exchange.turn.message.text(), "Good morning");
/// ```
pub fn exchange(text: &str, reply: &str) -> Exchange {
    Exchange {
        turn: turn(text),
        reply: Message::assistant(reply),
        usage: Usage::new(0, 0),
        interrupted: false,
        attempt: 1,
        metadata: Vec::new(),
    }
}

fn user() -> User {
    let name = world(|world| world.user_name.clone());
    User { id: "user-1".into(), name, locale: None, timezone: None, metadata: Vec::new() }
}

/// The contract's imports over this thread's world.
pub(crate) mod host {
    use super::{LogLine, world};
    use crate::bindings::state::{Entry, Scope, WriteOptions};
    use crate::http::canned::{Canned, Sent, Transport};
    use crate::{Failure, Message, Prompt, Reply, Result};

    pub(crate) fn settings() -> String {
        world(|world| world.settings.clone()).unwrap_or_else(|| "{}".into())
    }

    pub(crate) fn log(level: &str, message: &str, fields: &[(String, String)]) {
        let line = LogLine { level: level.into(), message: message.into(), fields: fields.to_vec() };
        world(|world| world.log.push(line));
    }

    fn granted(grant: &str) -> Result<()> {
        match world(|world| world.denied.contains(grant)) {
            true => Err(Failure::denied(format!("needs the grant `{grant}`"))),
            false => Ok(()),
        }
    }

    fn may_use(scope: Scope) -> Result<()> {
        granted("state")?;
        if matches!(scope, Scope::Shared) { granted("state_shared") } else { Ok(()) }
    }

    pub(crate) fn get(scope: Scope, key: &str) -> Result<Option<Entry>> {
        may_use(scope)?;
        let stored = world(|world| world.state.get(&(scope as u8, key.into())).cloned());
        Ok(stored.map(|(value, version)| Entry { value, version }))
    }

    pub(crate) fn set(scope: Scope, key: &str, value: &[u8], options: WriteOptions) -> Result<u64> {
        let version = matching(scope, key, options.if_version)? + 1;
        world(|world| world.state.insert((scope as u8, key.into()), (value.to_vec(), version)));
        Ok(version)
    }

    pub(crate) fn delete(scope: Scope, key: &str, if_version: Option<u64>) -> Result<()> {
        matching(scope, key, if_version)?;
        world(|world| world.state.remove(&(scope as u8, key.into())));
        Ok(())
    }

    pub(crate) fn add(scope: Scope, key: &str, amount: i64) -> Result<i64> {
        let stored = get(scope, key)?.map_or_else(|| Ok("0".into()), |entry| String::from_utf8(entry.value));
        let number = stored.ok().and_then(|text| text.parse::<i64>().ok());
        let sum = number.and_then(|number| number.checked_add(amount)).ok_or_else(|| {
            Failure::invalid(format!("the stored value `{key}` is no integer, or the sum too large"))
        })?;
        let options = WriteOptions { if_version: None, ttl_ms: None };
        set(scope, key, sum.to_string().as_bytes(), options).map(|_| sum)
    }

    pub(crate) fn list(scope: Scope, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>> {
        may_use(scope)?;
        let limit = usize::try_from(limit.min(1000)).unwrap_or(1000);
        Ok(world(|world| {
            let keys = world.state.keys().filter(|(of, _)| *of == scope as u8).map(|(_, key)| key.as_str());
            let wanted = keys.filter(|key| key.starts_with(prefix) && after.is_none_or(|after| *key > after));
            wanted.take(limit).map(String::from).collect()
        }))
    }

    pub(crate) fn page(before: Option<&str>, limit: u32) -> Result<Vec<Message>> {
        granted("history")?;
        world(|world| {
            let all = world.history.iter();
            let earlier: Vec<_> = all.take_while(|m| before.is_none() || m.id.as_deref() != before).collect();
            let skipped = earlier.len().saturating_sub(usize::try_from(limit.min(1000)).unwrap_or(1000));
            Ok(earlier.into_iter().skip(skipped).cloned().collect())
        })
    }

    pub(crate) fn ask(_: &Prompt) -> Result<Reply> {
        granted("models")?;
        let reply = world(|world| world.replies.pop_front());
        reply.unwrap_or_else(|| Err(Failure::unavailable("no reply was queued with testing::reply_with")))
    }

    pub(crate) fn transport() -> Option<Transport> {
        world(|world| world.transport.clone())
    }

    /// Notes the request and hands out the response that was queued for it.
    pub(crate) fn send(request: Sent) -> Option<Canned> {
        world(|world| {
            world.requests.push(request);
            world.responses.pop_front()
        })
    }

    fn matching(scope: Scope, key: &str, wanted: Option<u64>) -> Result<u64> {
        let current = get(scope, key)?.map_or(0, |entry| entry.version);
        match wanted {
            Some(wanted) if wanted != current => {
                Err(Failure::conflict(format!("`{key}` has the version {current}, not {wanted}")))
            }
            _ => Ok(current),
        }
    }
}
