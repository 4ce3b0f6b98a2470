//! A companion: the plugins that play it, and how they are used.

use std::sync::{Arc, OnceLock};

use masque_runtime::Plugin;
use serde_json::{Map, Value};

use masque_telemetry::metrics::turns::begin_companion;

use crate::plugin_series::{KeptSeries, PLUGIN_SERIES};
use crate::series_retention::SeriesSubject;

/// A persona, a memory and at least one model under one name.
#[derive(Debug)]
pub struct Companion {
    /// The name that clients use.
    pub name: String,
    /// Composes the prompt.
    pub persona: Arc<Plugin>,
    /// Recalls before a reply and observes after it.
    pub memory: Arc<Plugin>,
    /// The models, never empty. The first one serves unless the client chooses another.
    pub models: Vec<Arc<Plugin>>,
    /// Whether the next model takes over when one fails before its first content.
    pub fallback: bool,
    /// The most that a recollection may hold, in tokens of the model.
    pub memory_budget: u32,
    /// Options that are added to every prompt. They override those of the persona.
    pub options: Map<String, Value>,
    /// Set when a generation with this companion is in use. Its name has series from then on.
    pub(crate) in_use: OnceLock<KeptSeries>,
}

impl Companion {
    /// Marks that a generation with this companion is in use.
    pub(crate) fn use_it(&self) {
        self.in_use.get_or_init(|| {
            let subject = SeriesSubject::Companion(self.name.clone());
            PLUGIN_SERIES.keep(subject, || begin_companion(&self.name))
        });
    }
}
