//! Translates the contract's imports to calls of [`HostState`](crate::guest::HostState), which decides what a call may do.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::StoreContextMut;
use wasmtime::component::{HasSelf, Linker};

use self::bindings::masque::companion::{history, models, state};
use super::translate::Translate;
use super::types;
use crate::capability::PluginStateScope;
use crate::guest::Guest;

/// Generated for `state`, `history` and `models`.
mod bindings {
    #![allow(missing_docs, reason = "documented in wit/0.1.0/host.wit")]
    #![allow(
        clippy::all,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "generated"
    )]
    #![allow(unreachable_pub, reason = "generated")]
    #![allow(dead_code, reason = "`host` is linked by hand, so that the settings are not copied")]

    wasmtime::component::bindgen!({
        path: "../../wit/0.1.0",
        world: "imports",
        imports: {
            "masque:companion/host": trappable,
            default: async | trappable,
        },
        with: { "masque:companion/types@0.1.0": crate::contract::v0_1::types },
    });
}

type Answer<T> = wasmtime::Result<Result<T, types::Failure>>;

/// Links everything that version 0.1.0 offers.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    add_host(linker)?;
    state::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    history::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    models::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)
}

/// Links `host`. Generated bindings would answer `settings` with a `String`, a copy of the whole text.
fn add_host(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut host = linker.instance("masque:companion/host@0.1.0")?;
    host.func_wrap(
        "settings",
        |store: StoreContextMut<'_, Guest>, (): ()| -> wasmtime::Result<(Arc<str>,)> {
            Ok((store.data().host_state().settings(),))
        },
    )?;
    host.func_wrap(
        "log",
        |store: StoreContextMut<'_, Guest>,
         (level, message, fields): (String, String, Vec<(String, String)>)|
         -> wasmtime::Result<()> {
            store.data().host_state().log(&level, &message, &fields);
            Ok(())
        },
    )
}

impl Translate<PluginStateScope> for state::Scope {
    fn translate(self) -> PluginStateScope {
        match self {
            Self::Conversation => PluginStateScope::Conversation,
            Self::User => PluginStateScope::User,
            Self::Shared => PluginStateScope::Shared,
        }
    }
}

impl state::Host for Guest {
    async fn get(&mut self, scope: state::Scope, key: String) -> Answer<Option<state::Entry>> {
        let entry = self.host_state().state_get(scope.translate(), &key).await;
        let entry =
            entry.map(|entry| entry.map(|entry| state::Entry { value: entry.value, version: entry.version }));
        Ok(entry.map_err(Translate::translate))
    }

    async fn set(
        &mut self,
        scope: state::Scope,
        key: String,
        value: Vec<u8>,
        options: state::WriteOptions,
    ) -> Answer<u64> {
        let ttl = options.ttl_ms.map(Duration::from_millis);
        let written =
            self.host_state().state_set(scope.translate(), &key, value, options.if_version, ttl).await;
        Ok(written.translate())
    }

    async fn delete(&mut self, scope: state::Scope, key: String, if_version: Option<u64>) -> Answer<()> {
        Ok(self.host_state().state_delete(scope.translate(), &key, if_version).await.translate())
    }

    async fn add(&mut self, scope: state::Scope, key: String, amount: i64) -> Answer<i64> {
        let sum = self.host_state().state_add(scope.translate(), &key, amount).await;
        Ok(sum.map_err(Translate::translate))
    }

    async fn list(
        &mut self,
        scope: state::Scope,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Answer<Vec<String>> {
        let keys = self.host_state().state_list(scope.translate(), &prefix, after.as_deref(), limit).await;
        Ok(keys.translate())
    }
}

impl history::Host for Guest {
    async fn page(&mut self, before: Option<String>, limit: u32) -> Answer<Vec<types::Message>> {
        Ok(self.host_state().history_page(before.as_deref(), limit).await.translate())
    }
}

impl models::Host for Guest {
    async fn ask(&mut self, prompt: types::Prompt) -> Answer<types::Reply> {
        Ok(self.host_state_mut().ask(prompt.translate()).await.translate())
    }
}
