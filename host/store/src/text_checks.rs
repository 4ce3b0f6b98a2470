//! The texts of everything that is written to a store. A new field that holds text is checked here.

use crate::active_sets::{NewGeneration, Preparation, SetHost};
use crate::admission::{Admission, Idempotency, Target};
use crate::audit::AuditEntry;
use crate::conversations::NewConversation;
use crate::ending::{Commit, Failed, Interruption};
use crate::error::StoreError;
use crate::jobs::NewJob;
use crate::keys::NewApiKey;
use crate::message::NewMessage;
use crate::owner::Owner;
use crate::revocations::{NewRevocation, Revoked};
use crate::state_values::{StateKey, StateScope, StateWrite};
use crate::text::{CheckTexts, check_json, check_text};
use crate::user_data::ErasureRequest;

type Checked = Result<(), StoreError>;

fn check_optional(name: &str, text: Option<&str>) -> Checked {
    text.map_or(Ok(()), |text| check_text(name, text))
}

fn check_all(name: &str, texts: &[String]) -> Checked {
    texts.iter().try_for_each(|text| check_text(name, text))
}

impl CheckTexts for Owner {
    fn check_texts(&self) -> Checked {
        let Self { tenant, issuer, subject } = self;
        check_text("tenant", tenant)?;
        check_text("issuer", issuer)?;
        check_text("subject", subject)
    }
}

impl CheckTexts for NewMessage {
    fn check_texts(&self) -> Checked {
        check_text("message", &self.content)?;
        check_json("metadata of the message", &self.metadata)
    }
}

impl CheckTexts for NewConversation {
    fn check_texts(&self) -> Checked {
        check_text("companion", &self.companion)?;
        check_optional("title", self.title.as_deref())?;
        self.greeting.check_texts()
    }
}

impl CheckTexts for Target {
    fn check_texts(&self) -> Checked {
        match self {
            Self::Existing(_) => Ok(()),
            Self::New { id: _, companion, title } => {
                check_text("companion", companion)?;
                check_text("title", title)
            }
        }
    }
}

impl CheckTexts for Idempotency {
    fn check_texts(&self) -> Checked {
        check_text("route", &self.route)?;
        check_text("idempotency key", &self.key)
    }
}

impl CheckTexts for Admission {
    fn check_texts(&self) -> Checked {
        self.owner.check_texts()?;
        self.target.check_texts()?;
        self.message.check_texts()?;
        self.idempotency.check_texts()
    }
}

impl CheckTexts for NewJob {
    fn check_texts(&self) -> Checked {
        check_text("plugin of a job", &self.plugin)?;
        check_text("payload of a job", &self.payload)
    }
}

impl CheckTexts for Commit {
    fn check_texts(&self) -> Checked {
        self.reply.check_texts()?;
        check_text("finish reason", &self.finish)?;
        check_json("response", &self.response)?;
        self.jobs.check_texts()
    }
}

impl CheckTexts for Interruption {
    fn check_texts(&self) -> Checked {
        self.reply.check_texts()?;
        self.jobs.check_texts()
    }
}

impl CheckTexts for Failed {
    fn check_texts(&self) -> Checked {
        check_json("problem", &self.problem)
    }
}

impl CheckTexts for StateKey {
    fn check_texts(&self) -> Checked {
        check_text("tenant", &self.space.tenant)?;
        check_text("plugin", &self.space.plugin)?;
        if let StateScope::User(owner) = &self.space.scope {
            owner.check_texts()?;
        }
        check_text("key of state", &self.key)
    }
}

/// The value is bytes.
impl CheckTexts for StateWrite {
    fn check_texts(&self) -> Checked {
        self.key.check_texts()
    }
}

impl CheckTexts for SetHost {
    fn check_texts(&self) -> Checked {
        check_text("name of the host", &self.name)
    }
}

impl CheckTexts for NewGeneration {
    fn check_texts(&self) -> Checked {
        let Self { base: _, revision: _, digest, content, components, prepare_within: _, by } = self;
        check_text("digest", digest)?;
        check_text("content", content)?;
        check_all("digest of a component", components)?;
        by.check_texts()
    }
}

impl CheckTexts for Preparation {
    fn check_texts(&self) -> Checked {
        check_optional("problem", self.problem.as_deref())
    }
}

impl CheckTexts for AuditEntry {
    fn check_texts(&self) -> Checked {
        let Self { tenant, actor, action, target, outcome: _, request_id, address, detail } = self;
        check_text("tenant", tenant)?;
        check_text("actor", actor)?;
        check_text("action", action)?;
        check_optional("target", target.as_deref())?;
        check_optional("request id", request_id.as_deref())?;
        check_optional("address", address.as_deref())?;
        check_json("detail", detail)
    }
}

impl CheckTexts for NewApiKey {
    fn check_texts(&self) -> Checked {
        check_text("tenant", &self.tenant)?;
        check_text("name of the key", &self.name)?;
        check_all("scope", &self.scopes)?;
        check_all("companion", self.companions.as_deref().unwrap_or_default())?;
        check_text("maker of the key", &self.created_by)
    }
}

impl CheckTexts for NewRevocation {
    fn check_texts(&self) -> Checked {
        check_text("issuer", &self.issuer)?;
        match &self.what {
            Revoked::Token { jti } => check_text("token id", jti),
            Revoked::User { subject, tenant } => {
                check_text("subject", subject)?;
                check_optional("tenant", tenant.as_deref())
            }
        }
    }
}

impl CheckTexts for ErasureRequest {
    fn check_texts(&self) -> Checked {
        self.owner.check_texts()?;
        self.entry.check_texts()
    }
}
