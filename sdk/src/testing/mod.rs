//! An in-memory host, for native tests of a plugin.
//!
//! Each thread has its own host, and so has each test. Set what the plugin's calls return, call the plugin, then check
//! what it did. [`reset`] forgets all of it.
//!
//! ```
//! use masque_sdk::{state, testing};
//!
//! testing::set_user_name("Ada");
//! let turn = testing::turn("Good morning");
//! assert_eq!(turn.user.name.as_deref(), Some("Ada"));
//! ```

mod answer;
pub(crate) mod clock;
pub(crate) mod host;
mod host_state;
pub(crate) mod http;
mod run;
mod values;

use crate::http::Error;
use crate::{Finish, Message, Reply, Result, Usage};
use host_state::{HostState, with_host};
use std::rc::Rc;

pub use answer::{Answer, answer, stream};
pub use host_state::LogLine;
pub use http::{HttpRequest, HttpResponse, HttpStream};
pub use run::run;
pub use values::{exchange, opening, trial, turn};

/// Resets the host of this thread: forgets what was set and what the plugin did.
pub fn reset() {
    with_host(|host| *host = HostState::default());
}

/// Sets the user's name in the turns that [`turn`] makes.
pub fn set_user_name(name: &str) {
    with_host(|host| host.user_name = Some(name.into()));
}

/// Sets the plugin's settings, as JSON text.
pub fn set_settings(json: &str) {
    with_host(|host| host.settings = Some(json.into()));
}

/// Makes the plugin from the settings, as a call of the host does.
///
/// # Errors
/// `invalid`, naming the setting that is wrong or unknown.
pub fn load<P: crate::Plugin>() -> Result<P> {
    crate::settings::load()
}

/// Sets the messages that [`history`](crate::history) returns, oldest first. Messages without an id get one.
pub fn set_history(messages: impl IntoIterator<Item = Message>) {
    let numbered = messages.into_iter().enumerate().map(|(index, mut message)| {
        message.id.get_or_insert_with(|| format!("message-{index}"));
        message
    });
    with_host(|host| host.history = numbered.collect());
}

/// Takes away the grant of this name: `state`, `state_shared`, `history` or `models`.
pub fn deny(grant: &str) {
    with_host(|host| host.denied.insert(grant.into()));
}

/// Queues a reply for [`models::ask`](crate::models::ask).
pub fn reply_with(text: &str) {
    let reply = Reply {
        message: Message::assistant(text),
        usage: Usage::new(0, 0),
        finish: Finish::stop(),
        metadata: Vec::new(),
    };
    with_host(|host| host.replies.push_back(Ok(reply)));
}

/// Queues a response for the next HTTP request.
pub fn respond(response: HttpResponse) {
    with_host(|host| host.responses.push_back(response));
}

/// Passes the HTTP requests of this thread to `transport` instead of answering them with queued responses, for example to
/// send them to a server that a test started. [`requests`] does not return them.
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
    with_host(|host| host.transport = Some(Rc::new(move |request| Box::pin(transport(request)))));
}

/// Returns the HTTP requests that the plugin sent, in their order.
pub fn requests() -> Vec<HttpRequest> {
    with_host(|host| host.requests.clone())
}

/// Returns the lines that the plugin logged, in their order. Those of `tracing` and `log` are included after
/// [`capture_logs`].
pub fn logged() -> Vec<LogLine> {
    with_host(|host| host.log.clone())
}

/// Makes [`logged`] return the lines of `tracing` and `log`, as a component sends them to the host. Applies to the whole
/// process.
pub fn capture_logs() {
    crate::log::install();
}
