//! The active set that the hosts of one database share.
//!
//! A file is one host's wish; the database decides. A [`Publisher`](publisher) offers what the file of its host says, as a
//! document that names components by their digests. Every host [prepares](preparer) what is published, as it would prepare a
//! changed file: it fetches the components that it lacks, resolves credentials by its own configuration, compiles, describes
//! and tries. When all hosts that live are prepared, the generation becomes active, and each [switches](switcher) to the set
//! that it has ready. While the database is away, each goes on with the set that it has.
//!
//! The store holds generations and components, and decides; see [`masque_store::ActiveSets`].

mod candidate;
mod components;
mod intent;
mod offer;
mod preparer;
mod publisher;
mod start;
mod switcher;

use std::path::Path;
use std::sync::Arc;

use masque_config::{Config, ConfigSource, Diagnostic};
use masque_runtime::Sandbox;
use masque_store::{ActiveSets, SetHost};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::active::Active;
use crate::builtins::BuiltinComponents;
use crate::follow::follow_files;
use crate::set::ActiveSet;
use crate::started::Started;
use components::LocalComponents;
use offer::Offering;
use preparer::Preparer;
use publisher::Publisher;

/// The active set of a host that shares it with others.
#[derive(Clone)]
pub struct SharedSets {
    store: Arc<dyn ActiveSets>,
    host: SetHost,
    offering: Offering,
    started: Started,
}

impl SharedSets {
    /// The active set in `store`, for a host that was started with `config`. Components are kept in the folder
    /// `components` of `data`.
    pub fn new(
        store: Arc<dyn ActiveSets>,
        host: SetHost,
        config: Arc<Config>,
        data: &Path,
        sandbox: Arc<Sandbox>,
        builtins: BuiltinComponents,
    ) -> Self {
        let components = LocalComponents::new(data.join("components"));
        let started = Started::new(config);
        let offering = Offering {
            store: Arc::clone(&store),
            host: host.clone(),
            components,
            sandbox,
            builtins,
            started: started.clone(),
        };
        Self { store, host, offering, started }
    }

    /// Waits until this host has prepared the active generation, and returns it. Where there is none, publishes that of
    /// `config`. What it waits for is logged.
    ///
    /// # Errors
    /// The configuration would be the first generation, and has mistakes.
    pub async fn first_set(&self, config: &Arc<Config>) -> Result<ActiveSet, Vec<Diagnostic>> {
        start::first_set(self.preparer(None), &self.offering, config).await
    }

    /// Follows the database, and the files of `source`, until `stop` is cancelled; then no generation waits for this host
    /// any more. `config` is what the host was started with, and `active` holds its [`Self::first_set`].
    pub async fn follow(
        self,
        source: ConfigSource,
        config: Arc<Config>,
        active: Arc<Active>,
        stop: CancellationToken,
    ) {
        let (local, changes) = watch::channel(Arc::clone(&config));
        let publisher = Publisher::new(self.offering.clone(), source, config, local, Arc::clone(&active));
        let switching = switcher::follow_database(self.preparer(Some(Arc::clone(&active))), active, changes);
        stop.run_until_cancelled(async { tokio::join!(follow_files(publisher), switching) }).await;
        switcher::leave(&*self.store, &self.host).await;
    }

    fn preparer(&self, active: Option<Arc<Active>>) -> Preparer {
        let Offering { store, host, components, sandbox, builtins, .. } = self.offering.clone();
        Preparer::new(store, host, components, sandbox, builtins, self.started.clone(), active)
    }
}
