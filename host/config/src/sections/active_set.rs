//! `[active_set]`: how companions and plugins of this file become those of all hosts that share a database. Without
//! `DATABASE_URL`, the section has no effect: the file itself is the active set.

use std::time::Duration;

use serde::Serialize;

use crate::section::Section;
use crate::units::{MINUTE, SECOND};

/// How the file's companions and plugins are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ActiveSetOptions {
    /// Published when it is higher than that of the hosts. `None`: only where nothing was published before.
    pub revision: Option<u64>,
    /// Whether each change of the files that this host sees is published, under the next revision.
    pub watch: bool,
    /// How long hosts may take to prepare what this host publishes.
    pub prepare_timeout: Duration,
}

pub(crate) fn read(mut section: Section<'_, '_>) -> ActiveSetOptions {
    let options = ActiveSetOptions {
        revision: section.optional_count("revision", 1..=i64::MAX.unsigned_abs()),
        watch: section.flag("watch", false),
        prepare_timeout: section.duration("prepare_timeout", 60 * SECOND, SECOND..=10 * MINUTE),
    };
    section.finish();
    options
}
