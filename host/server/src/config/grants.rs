//! `grants` of a plugin: read into the runtime's own types, which alone know what an origin or a network is.

use masque_runtime::{GrantError, HttpGrant, IpNet, Reuse};

use super::section::{Found, Section};
use super::types::Name;
use super::values::{Form, Wrong};

const HTTP: Form = Form {
    what: "a list of origins",
    example: "[\"https://api.openai.com\", \"GET https://example.com/v1/\"]",
};
const NETWORKS: Form = Form { what: "a list of networks", example: "[\"10.0.0.0/8\", \"fd00::/8\"]" };
const CREDENTIALS: Form = Form { what: "a list of credentials' names", example: "[\"openai\"]" };

const REUSE: Form = Form { what: "\"conversation\", \"user\" or \"anyone\"", example: "\"conversation\"" };

/// What a few files take, and what can be looked through before a call.
const SMALLEST: usize = 64 << 10;
const LARGEST: usize = 256 << 20;

/// Grants whose credentials are still names.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) http: Vec<HttpGrant>,
    pub(super) networks: Vec<IpNet>,
    pub(super) credentials: Vec<Found<Name>>,
    pub(super) state: bool,
    pub(super) state_shared: bool,
    pub(super) history: bool,
    pub(super) models: bool,
    pub(super) scratch: Option<u64>,
    pub(super) reuse: Option<Found<Reuse>>,
}

pub(super) fn read(mut section: Section<'_, '_>) -> Draft {
    let http = section.list("http", HTTP, http);
    let networks = section.list("networks", NETWORKS, network);
    let credentials = section.list("credentials", CREDENTIALS, |text| text.parse().map_err(|_| Wrong::Form));
    let draft = Draft {
        http: values(http),
        networks: values(networks),
        credentials: credentials.map(|list| list.value).unwrap_or_default(),
        state: section.flag("state", false),
        state_shared: section.flag("state_shared", false),
        history: section.flag("history", false),
        models: section.flag("models", false),
        scratch: section.optional_size("scratch", SMALLEST..=LARGEST).map(|size| size as u64),
        reuse: section.read("reuse", REUSE, |value| match value.get_ref().as_str() {
            Some("conversation") => Ok(Reuse::Conversation),
            Some("user") => Ok(Reuse::User),
            Some("anyone") => Ok(Reuse::Anyone),
            Some(_) => Err(Wrong::Form),
            None => Err(Wrong::Type),
        }),
    };
    section.finish();
    draft
}

fn http(text: &str) -> Result<HttpGrant, Wrong> {
    no_password(text)?;
    text.parse().map_err(|error| wrong(&error))
}

/// An address stands for itself alone.
fn network(text: &str) -> Result<IpNet, Wrong> {
    let address = text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse().or(address).map_err(|_| Wrong::Form)
}

/// Before anything quotes the text: a password may stand before the `@`.
pub(super) fn no_password(text: &str) -> Result<(), Wrong> {
    if text.contains('@') {
        let what = "an origin has no user name and no password";
        let remedy =
            "Write it as `https://api.example.com`, and a secret as a [credentials.NAME] of its own.";
        return Err(Wrong::Other(what.to_owned(), remedy.to_owned()));
    }
    Ok(())
}

/// The runtime's words: what is wrong before the semicolon, the right form after it.
pub(super) fn wrong(error: &GrantError) -> Wrong {
    let text = match error {
        GrantError::Credential { reason, .. } => reason.clone(),
        other => other.to_string(),
    };
    let (what, remedy) = text.split_once("; ").unwrap_or((&text, ""));
    let remedy = match error {
        GrantError::Credential { .. } => {
            "Use https, or an address of this machine such as `http://127.0.0.1:11434`: a secret is never sent in the clear."
                .to_owned()
        }
        _ => super::report::sentence(remedy),
    };
    Wrong::Other(what.to_owned(), remedy)
}

fn values<T>(list: Option<Found<Vec<Found<T>>>>) -> Vec<T> {
    list.map(|list| list.value.into_iter().map(|item| item.value).collect()).unwrap_or_default()
}
