//! The environment that scenarios run in.

use std::path::PathBuf;

use crate::mock::Pace;
use crate::setup::{ELARA, Mode, Server, Start};

/// The programs, folders and sizes of a run.
pub(crate) struct Bench {
    pub(crate) bin: PathBuf,
    /// An older binary of the host.
    pub(crate) before: Option<PathBuf>,
    pub(crate) out: PathBuf,
    pub(crate) quick: bool,
    pub(crate) mock: Server,
}

impl Bench {
    /// Options of a host that uses the mock model at this pace.
    pub(crate) fn start(&self, pace: Pace, mode: Mode) -> Start<'_> {
        let compiled = self.out.join("compiled");
        let (bin, out, mock, elara) = (&self.bin, &self.out, &self.mock, ELARA.to_owned());
        let (extra, environment) = (String::new(), Vec::new());
        Start { bin, out, mock, scheme: "http", pace, mode, elara, extra, environment, compiled }
    }

    /// Returns `full`, or `quick` in a run that only checks that the scenarios work.
    pub(crate) fn size<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}
