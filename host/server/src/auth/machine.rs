//! `masque keys` and `masque tokens`: what whoever owns the machine does about keys and tokens, with or without a running
//! host. A host that runs follows within seconds.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, ensure};
use masque_store::{ApiKeyRecord, AuditEntry, AuditOutcome, KeyId, KeyRing, NewRevocation, Page, Revoked};
use serde_json::{Value, json};

use super::key::KeyText;
use super::wanted::{self, Wanted};
use super::{DEFAULT_TENANT, token};
use crate::config::Config;

/// Who did it, for the audit.
const ACTOR: &str = "cli";
/// Keys that are read at a time.
const PART: u32 = 1000;

/// What to do.
#[derive(Debug)]
pub(crate) enum Task {
    CreateKey(Wanted),
    ListKeys,
    RotateKey { id: String, overlap_hours: Option<u32> },
    RevokeKey { id: String },
    RevokeTokens { jti: Option<String>, user: Option<String>, issuer: Option<String>, tenant: Option<String> },
}

/// Does it, and returns what to tell.
///
/// # Errors
/// What is wrong with the words, before anything is done; or what became of the data folder.
pub(crate) async fn on_the_machine(config: &Config, task: Task) -> anyhow::Result<String> {
    let work = Work::prepare(config, task)?;
    let ring = masque_store_sqlite::open_key_ring(&config.data.folder).await?;
    let report = work.perform(&*ring).await;
    ring.close().await;
    report
}

/// A task whose words are right.
enum Work {
    Create(Wanted),
    List,
    Rotate(KeyId, Duration),
    Revoke(KeyId),
    Void(NewRevocation),
}

impl Work {
    fn prepare(config: &Config, task: Task) -> anyhow::Result<Self> {
        let id = |text: &str| {
            text.parse::<KeyId>()
                .map_err(|error| anyhow!("`{}`: {error}; `masque keys list` has them", text.escape_debug()))
        };
        Ok(match task {
            Task::CreateKey(wanted) => {
                // Whatever is wrong is told before a folder is made.
                wanted.clone().key(ACTOR.into(), SystemTime::now())?;
                Self::Create(wanted)
            }
            Task::ListKeys => Self::List,
            Task::RotateKey { id: text, overlap_hours } => {
                Self::Rotate(id(&text)?, wanted::overlap(overlap_hours)?)
            }
            Task::RevokeKey { id: text } => Self::Revoke(id(&text)?),
            Task::RevokeTokens { jti, user, issuer, tenant } => {
                let issuer = issuer.unwrap_or_else(|| config.auth.issuer.clone());
                let known = issuer == config.auth.issuer
                    || config.auth.issuers.values().any(|known| known.issuer == issuer);
                ensure!(known, "`{}` is no issuer that the configuration names", issuer.escape_debug());
                let name = jti.as_ref().or(user.as_ref()).map(String::as_str).unwrap_or_default();
                ensure!(token::is_subject(name), "name a token with --jti, or a user with --user");
                let what = match (jti, user) {
                    (Some(jti), _) => Revoked::Token { jti },
                    (None, user) => Revoked::User { subject: user.unwrap_or_default(), tenant },
                };
                Self::Void(NewRevocation { issuer, what })
            }
        })
    }

    async fn perform(self, ring: &dyn KeyRing) -> anyhow::Result<String> {
        match self {
            Self::Create(wanted) => {
                let (text, new) = wanted.key(ACTOR.into(), SystemTime::now())?;
                let entry = entry("key.create", format!("key:{}", new.id), wanted::detail(&new));
                let entry = AuditEntry { tenant: new.tenant.clone(), ..entry };
                ring.create_key(new, entry).await?;
                Ok(shown(&text))
            }
            Self::List => {
                let mut listed = Listed::default();
                let mut after = None;
                loop {
                    let part = ring.keys(Page { limit: PART, after }).await?;
                    part.items.iter().for_each(|key| listed.add(key));
                    after = part.next;
                    if after.is_none() {
                        return Ok(listed.0.unwrap_or_else(|| "There is no key.".to_owned()));
                    }
                }
            }
            Self::Rotate(id, overlap) => {
                let text = KeyText::new(id.clone()).context("the machine has no random numbers")?;
                let detail = json!({ "overlap_seconds": overlap.as_secs() });
                let entry = entry("key.rotate", format!("key:{id}"), detail);
                let rotated = ring.rotate_key(&id, text.hash(), overlap, entry).await?;
                ensure!(
                    rotated.is_some(),
                    "there is no key {id}, or it is revoked; `masque keys list` has them"
                );
                Ok(shown(&text))
            }
            Self::Revoke(id) => {
                let revoked =
                    ring.revoke_key(&id, entry("key.revoke", format!("key:{id}"), json!({}))).await?;
                ensure!(revoked.is_some(), "there is no key {id}; `masque keys list` has them");
                Ok(format!("The key {id} is revoked, and so is every token that was made with it."))
            }
            Self::Void(revocation) => {
                let target = match &revocation.what {
                    Revoked::Token { jti } => format!("token:{jti}"),
                    Revoked::User { subject, .. } => format!("user:{}|{subject}", revocation.issuer),
                };
                let entry = entry("token.revoke", target, json!({ "issuer": revocation.issuer }));
                ring.revoke(revocation, entry).await?;
                Ok("Revoked. A running host follows within 5 seconds.".to_owned())
            }
        }
    }
}

fn entry(action: &str, target: String, detail: Value) -> AuditEntry {
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

fn shown(text: &KeyText) -> String {
    format!("{}\n\nIt is shown this once. Send it as `Authorization: Bearer`.", text.reveal())
}

/// A line for each key.
#[derive(Default)]
struct Listed(Option<String>);

impl Listed {
    fn add(&mut self, key: &ApiKeyRecord) {
        let text = self.0.get_or_insert_default();
        let state = match (key.revoked_at, key.expires_at) {
            (Some(at), _) => format!("revoked {}", day(at)),
            (None, Some(at)) => format!("until {}", day(at)),
            (None, None) => "without end".to_owned(),
        };
        let separator = if text.is_empty() { "" } else { "\n" };
        let (tenant, name, scopes) = (&key.tenant, &key.name, key.scopes.join(" "));
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{}  {tenant}  {scopes}  {state}  {name}", key.id);
    }
}

fn day(milliseconds: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}
