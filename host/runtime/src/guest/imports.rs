//! What the contract's imports do. Every one is linked for every component; here, and only here, grants are asked.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracing::Level;

use super::{Asking, Guest, Lent};
use crate::capability::{Asked, Models, Scope};
use crate::contract::imports::masque::companion::{history, host, models, state, types};
use crate::contract::{Failure, Message, Prompt, Reply};

/// A plain `func` whose host side waits holds the whole store meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_KEY: usize = 512;
const LARGEST_VALUE: usize = 1 << 20;
const LONGEST_PAGE: u32 = 1000;

type Answer<T> = wasmtime::Result<Result<T, Failure>>;

impl types::Host for Guest {}

impl host::Host for Guest {
    fn settings(&mut self) -> wasmtime::Result<String> {
        Ok(self.lent.settings.to_string())
    }

    fn log(&mut self, level: String, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        let level = match level.as_str() {
            "error" => Level::ERROR,
            "warn" => Level::WARN,
            "debug" => Level::DEBUG,
            "trace" => Level::TRACE,
            _ => Level::INFO,
        };
        self.lent.journal.write(level, &message, &fields);
        Ok(())
    }
}

impl Lent {
    fn denied(&self, grant: &str) -> Failure {
        self.notes.refused(format!("the grant `{grant}` is missing"));
        Failure::new("denied", format!("needs the grant `{grant}`"))
    }

    /// One of the questions that the call may ask, and what its answer inherits.
    fn question(&mut self) -> Result<(Arc<dyn Models>, Asked), Failure> {
        if !self.grants.models {
            return Err(self.denied("models"));
        }
        let Some(models) = self.call.models.clone() else {
            return Err(Failure::new("denied", "a call that was itself asked can't ask on"));
        };
        let Some(Asking { asked, limit, left }) = &mut self.asking else {
            return Err(Failure::new("unavailable", "no question outside of a call"));
        };
        let Some(rest) = left.checked_sub(1) else {
            let reason = format!("more than {limit} questions in one call (limit `questions`)");
            self.notes.refused(reason.clone());
            return Err(Failure::new("denied", reason));
        };
        *left = rest;
        Ok((models, asked.clone()))
    }

    fn state(&self, scope: state::Scope) -> Result<(Arc<dyn crate::capability::State>, Scope), Failure> {
        let scope = match scope {
            state::Scope::Conversation => Scope::Conversation,
            state::Scope::User => Scope::User,
            state::Scope::Shared => Scope::Shared,
        };
        if !self.grants.state {
            return Err(self.denied("state"));
        }
        if scope == Scope::Shared && !self.grants.state_shared {
            return Err(self.denied("state_shared"));
        }
        let state =
            self.call.state.clone().ok_or_else(|| Failure::new("unavailable", "no state in this call"))?;
        Ok((state, scope))
    }
}

/// Ends the wait for a store that is slow or away.
async fn soon<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(LONGEST_WAIT, work).await {
        Ok(done) => done,
        Err(_) => Err(Failure::new("timeout", "the store did not answer within 2 s")),
    }
}

fn check_key(key: &str) -> Result<(), Failure> {
    if key.is_empty() || key.len() > LONGEST_KEY {
        return Err(Failure::new(
            "invalid",
            format!("a key has 1 to {LONGEST_KEY} bytes, not {}", key.len()),
        ));
    }
    Ok(())
}

impl state::Host for Guest {
    async fn get(&mut self, scope: state::Scope, key: String) -> Answer<Option<state::Entry>> {
        let lent = &self.lent;
        Ok(async {
            check_key(&key)?;
            let (state, scope) = lent.state(scope)?;
            let entry = soon(state.get(scope, &key)).await?;
            Ok(entry.map(|entry| state::Entry { value: entry.value, version: entry.version }))
        }
        .await)
    }

    async fn set(
        &mut self,
        scope: state::Scope,
        key: String,
        value: Vec<u8>,
        options: state::WriteOptions,
    ) -> Answer<u64> {
        let lent = &self.lent;
        Ok(async {
            check_key(&key)?;
            if value.len() > LARGEST_VALUE {
                let reason = format!("a value has at most {LARGEST_VALUE} bytes, not {}", value.len());
                return Err(Failure::new("invalid", reason));
            }
            let (state, scope) = lent.state(scope)?;
            let ttl = options.ttl_ms.map(Duration::from_millis);
            soon(state.set(scope, &key, value, options.if_version, ttl)).await
        }
        .await)
    }

    async fn delete(&mut self, scope: state::Scope, key: String, if_version: Option<u64>) -> Answer<()> {
        let lent = &self.lent;
        Ok(async {
            check_key(&key)?;
            let (state, scope) = lent.state(scope)?;
            soon(state.delete(scope, &key, if_version)).await
        }
        .await)
    }

    async fn add(&mut self, scope: state::Scope, key: String, amount: i64) -> Answer<i64> {
        let lent = &self.lent;
        Ok(async {
            check_key(&key)?;
            let (state, scope) = lent.state(scope)?;
            soon(state.add(scope, &key, amount)).await
        }
        .await)
    }

    async fn list(
        &mut self,
        scope: state::Scope,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Answer<Vec<String>> {
        let lent = &self.lent;
        Ok(async {
            let (state, scope) = lent.state(scope)?;
            soon(state.list(scope, &prefix, after.as_deref(), limit.min(LONGEST_PAGE))).await
        }
        .await)
    }
}

impl history::Host for Guest {
    async fn page(&mut self, before: Option<String>, limit: u32) -> Answer<Vec<Message>> {
        let lent = &self.lent;
        Ok(async {
            if !lent.grants.history {
                return Err(lent.denied("history"));
            }
            let history = lent
                .call
                .history
                .clone()
                .ok_or_else(|| Failure::new("unavailable", "no history in this call"))?;
            soon(history.page(before.as_deref(), limit.min(LONGEST_PAGE))).await
        }
        .await)
    }
}

impl models::Host for Guest {
    async fn ask(&mut self, prompt: Prompt) -> Answer<Reply> {
        let (models, asked) = match self.lent.question() {
            Ok(question) => question,
            Err(failure) => return Ok(Err(failure)),
        };
        let deadline = asked.deadline();
        Ok(tokio::time::timeout_at(deadline.into(), models.ask(prompt, asked))
            .await
            .unwrap_or_else(|_| Err(Failure::new("timeout", "the call's deadline passed"))))
    }
}
