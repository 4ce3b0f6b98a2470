//! `grants` of a plugin. The crate `masque-grants` knows what an origin or a network is; this module adds the locations of
//! mistakes.

use masque_grants::{GrantError, HttpGrant, IpNet, Name, Reuse};

use crate::section::{Located, Section, items};
use crate::units::{KIB, MIB};
use crate::value::{self, Expected, InvalidValue};
use crate::wording::sentence;

const HTTP: Expected = Expected {
    what: "a list of origins",
    example: "[\"https://api.openai.com\", \"GET https://example.com/v1/\"]",
};
const NETWORKS: Expected = Expected { what: "a list of networks", example: "[\"10.0.0.0/8\", \"fd00::/8\"]" };
const CREDENTIALS: Expected = Expected { what: "a list of credentials' names", example: "[\"openai\"]" };
const REUSE: Expected =
    Expected { what: "\"conversation\", \"user\" or \"anyone\"", example: "\"conversation\"" };

/// Room for a few files.
const MIN_SCRATCH: usize = 64 * KIB;
/// The most that can be measured before each call.
const MAX_SCRATCH: usize = 256 * MIB;

/// Grants as they were read; credentials are still names.
#[derive(Debug, Default)]
pub(crate) struct ParsedGrants {
    pub(crate) http: Vec<HttpGrant>,
    pub(crate) networks: Vec<IpNet>,
    pub(crate) credentials: Vec<Located<Name>>,
    pub(crate) state: bool,
    pub(crate) state_shared: bool,
    pub(crate) history: bool,
    pub(crate) models: bool,
    pub(crate) scratch: Option<u64>,
    pub(crate) reuse: Option<Located<Reuse>>,
}

pub(crate) fn read(mut section: Section<'_, '_>) -> ParsedGrants {
    let http = section.list("http", HTTP, http);
    let networks = section.list("networks", NETWORKS, network);
    let credentials =
        section.list("credentials", CREDENTIALS, |text| text.parse().map_err(|_| InvalidValue::Form));
    let grants = ParsedGrants {
        http: items(http),
        networks: items(networks),
        credentials: credentials.map(|list| list.value).unwrap_or_default(),
        state: section.flag("state", false),
        state_shared: section.flag("state_shared", false),
        history: section.flag("history", false),
        models: section.flag("models", false),
        scratch: section.optional_size("scratch", MIN_SCRATCH..=MAX_SCRATCH).map(|size| size as u64),
        reuse: section.read("reuse", REUSE, |value| match value::text(value)? {
            "conversation" => Ok(Reuse::Conversation),
            "user" => Ok(Reuse::User),
            "anyone" => Ok(Reuse::Anyone),
            _ => Err(InvalidValue::Form),
        }),
    };
    section.finish();
    grants
}

fn http(text: &str) -> Result<HttpGrant, InvalidValue> {
    refuse_password(text)?;
    text.parse().map_err(|error| invalid(&error))
}

/// A network; an address stands for itself alone.
fn network(text: &str) -> Result<IpNet, InvalidValue> {
    let address = text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse().or(address).map_err(|_| InvalidValue::Form)
}

/// Refuses a text with `@` without quoting it: a password may be in front of the `@`.
pub(crate) fn refuse_password(text: &str) -> Result<(), InvalidValue> {
    if text.contains('@') {
        let what = "an origin has no user name and no password";
        let remedy =
            "Write it as `https://api.example.com`, and a secret as a [credentials.NAME] of its own.";
        return Err(InvalidValue::Other(what.to_owned(), remedy.to_owned()));
    }
    Ok(())
}

/// Splits the message of a grant error into what is wrong, before the semicolon, and the remedy after it.
pub(crate) fn invalid(error: &GrantError) -> InvalidValue {
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
        _ => sentence(remedy),
    };
    InvalidValue::Other(what.to_owned(), remedy)
}
