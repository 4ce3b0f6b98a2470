//! `masque keys` and `masque tokens`: changes API keys and revokes tokens in a data folder. A running host takes the
//! changes over within 5 seconds.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, ensure};
use masque_auth::{
    DEFAULT_TENANT, KeyText, NewKeyRequest, audit_detail, is_subject, revocation_target, rotation_overlap,
};
use masque_config::{ConfigSource, Diagnostic, Diagnostics, Location, StateConfig};
use masque_store::{ApiKeyRecord, AuditEntry, AuditOutcome, KeyId, KeyRing, NewRevocation, Page, Revoked};
use serde_json::{Value, json};

use crate::store::{open_key_ring, open_or_create_key_ring};

/// What an operator should know of a secret. It goes to standard error, so that `KEY=$(masque keys create …)` is the key alone.
pub(crate) const SECRET_NOTE: &str = "The key is shown this once. Send it as `Authorization: Bearer KEY`.";
/// Who made a change, for the audit log.
const ACTOR: &str = "cli";
/// How many keys are read at a time.
const PAGE_SIZE: u32 = 1000;

/// A change, or a list, as the command line asks for it.
#[derive(Debug)]
pub(crate) enum KeyTask {
    CreateKey(NewKeyRequest),
    ListKeys,
    RotateKey { id: String, overlap_hours: Option<u32> },
    RevokeKey { id: String },
    RevokeTokens { jti: Option<String>, user: Option<String>, issuer: Option<String>, tenant: Option<String> },
}

/// Performs the task on a host's store. A first key may be made before the host's first start: then the data folder is made.
/// Returns the text for the terminal. `source` names the trusted issuers, which are read only to revoke tokens.
///
/// # Errors
/// An argument is wrong or there is no store, and then nothing was changed; or the store can't be read or written.
pub(crate) async fn perform(
    state: &StateConfig,
    source: &ConfigSource,
    task: KeyTask,
) -> anyhow::Result<String> {
    let operation = KeyOperation::check(source, task)?;
    let ring = match operation {
        KeyOperation::CreateKey(_) => open_or_create_key_ring(state).await?,
        _ => open_key_ring(state).await?,
    };
    let report = operation.perform(&*ring).await;
    ring.close().await;
    report
}

impl KeyTask {
    /// Whether the report is a secret, which is shown this once.
    pub(crate) fn shows_secret(&self) -> bool {
        matches!(self, Self::CreateKey(_) | Self::RotateKey { .. })
    }
}

/// Warns of companions that a new key is for and that the configuration does not have. Without a file, the configuration is
/// hardly that of the host, so nothing is said.
pub(crate) fn unknown_companions(task: &KeyTask, state: &StateConfig) -> Diagnostics {
    let (KeyTask::CreateKey(NewKeyRequest { companions: Some(names), .. }), Some(file)) = (task, &state.file)
    else {
        return Diagnostics::new(Vec::new());
    };
    let unknown = names.iter().filter(|name| !state.companions.contains(name.as_str()));
    let warning = |name: &String| {
        let what = format!("{} has no companion `{}`", file.display(), name.escape_debug());
        Diagnostic::warning(
            Location::Flag("--companion"),
            what,
            "The key can't talk to it before there is one.",
        )
    };
    Diagnostics::new(unknown.map(warning).collect())
}

/// A task with valid arguments.
enum KeyOperation {
    CreateKey(NewKeyRequest),
    ListKeys,
    RotateKey(KeyId, Duration),
    RevokeKey(KeyId),
    RevokeTokens(NewRevocation),
}

impl KeyOperation {
    fn check(source: &ConfigSource, task: KeyTask) -> anyhow::Result<Self> {
        let id = |text: &str| {
            text.parse::<KeyId>()
                .map_err(|error| anyhow!("`{}`: {error}; `masque keys list` has them", text.escape_debug()))
        };
        Ok(match task {
            KeyTask::CreateKey(request) => {
                // Validate the fields before the data folder is created.
                request.clone().issue(ACTOR.into(), SystemTime::now())?;
                Self::CreateKey(request)
            }
            KeyTask::ListKeys => Self::ListKeys,
            KeyTask::RotateKey { id: text, overlap_hours } => {
                Self::RotateKey(id(&text)?, rotation_overlap(overlap_hours)?)
            }
            KeyTask::RevokeKey { id: text } => Self::RevokeKey(id(&text)?),
            KeyTask::RevokeTokens { jti, user, issuer, tenant } => {
                let issuers = source.load_token_issuers()?.part;
                let issuer = issuer.unwrap_or_else(|| issuers.own.clone());
                let is_trusted = issuers.trusts(&issuer);
                ensure!(is_trusted, "`{}` is no issuer that the configuration names", issuer.escape_debug());
                let name = jti.as_ref().or(user.as_ref()).map(String::as_str).unwrap_or_default();
                ensure!(is_subject(name), "name a token with --jti, or a user with --user");
                let what = match (jti, user) {
                    (Some(jti), _) => Revoked::Token { jti },
                    (None, user) => Revoked::User { subject: user.unwrap_or_default(), tenant },
                };
                Self::RevokeTokens(NewRevocation { issuer, what })
            }
        })
    }

    async fn perform(self, ring: &dyn KeyRing) -> anyhow::Result<String> {
        match self {
            Self::CreateKey(request) => {
                let (text, new) = request.issue(ACTOR.into(), SystemTime::now())?;
                let entry = audit_entry("key.create", format!("key:{}", new.id), audit_detail(&new));
                let entry = AuditEntry { tenant: new.tenant.clone(), ..entry };
                ring.create_key(new, entry).await?;
                Ok(text.reveal().to_owned())
            }
            Self::ListKeys => list_keys(ring).await,
            Self::RotateKey(id, overlap) => {
                let text = KeyText::generate_for(id.clone()).context("the machine has no random numbers")?;
                let detail = json!({ "overlap_seconds": overlap.as_secs() });
                let entry = audit_entry("key.rotate", format!("key:{id}"), detail);
                let rotated = ring.rotate_key(&id, text.hash(), overlap, entry).await?;
                ensure!(
                    rotated.is_some(),
                    "there is no key {id}, or it is revoked; `masque keys list` has them"
                );
                Ok(text.reveal().to_owned())
            }
            Self::RevokeKey(id) => {
                let entry = audit_entry("key.revoke", format!("key:{id}"), json!({}));
                let revoked = ring.revoke_key(&id, entry).await?;
                ensure!(revoked.is_some(), "there is no key {id}; `masque keys list` has them");
                Ok(format!("The key {id} is revoked, and so is every token that was made with it."))
            }
            Self::RevokeTokens(revocation) => {
                let detail = json!({ "issuer": revocation.issuer });
                let entry = audit_entry("token.revoke", revocation_target(&revocation), detail);
                ring.revoke(revocation, entry).await?;
                Ok("Revoked. A running host follows within 5 seconds.".to_owned())
            }
        }
    }
}

fn audit_entry(action: &str, target: String, detail: Value) -> AuditEntry {
    AuditEntry {
        tenant: DEFAULT_TENANT.into(),
        actor: ACTOR.into(),
        action: action.into(),
        target: Some(target),
        outcome: AuditOutcome::Ok,
        request_id: None,
        address: None,
        detail,
    }
}

/// A line for each key, the newest first.
async fn list_keys(ring: &dyn KeyRing) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut after = None;
    loop {
        let page = ring.keys(Page { limit: PAGE_SIZE, after }).await?;
        page.items.iter().for_each(|key| write_line(&mut text, key));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(if text.is_empty() { "There is no key.".to_owned() } else { text })
}

fn write_line(text: &mut String, key: &ApiKeyRecord) {
    let state = match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {}", date(at)),
        (None, Some(at)) => format!("until {}", date(at)),
        (None, None) => "never expires".to_owned(),
    };
    let separator = if text.is_empty() { "" } else { "\n" };
    let (tenant, name, scopes) = (&key.tenant, &key.name, key.scopes.join(" "));
    // Writing to a string cannot fail.
    let _ = write!(text, "{separator}{}  {tenant}  {scopes}  {state}  {name}", key.id);
}

/// The date of a time in milliseconds since the Unix epoch, in UTC.
fn date(milliseconds: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}
