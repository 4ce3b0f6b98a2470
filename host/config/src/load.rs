//! Reads a configuration from its source: the first time for a host that starts, and again for one that runs.

use std::path::Path;

use toml::de::DeTable;

use crate::config::Config;
use crate::diagnostic::{Diagnostic, Location};
use crate::document::Document;
use crate::environment;
use crate::read::read;
use crate::report::Report;
use crate::section::Section;
use crate::sections::log;
use crate::snapshot::FileSnapshot;
use crate::source::{ConfigSource, InvalidConfig, LoadedConfig, ReloadedConfig};

/// The file that is read if nothing names another one.
const DEFAULT_FILE: &str = "masque.toml";

/// What was read.
struct Reading {
    result: Result<LoadedConfig, InvalidConfig>,
    log_level: Option<String>,
    files: FileSnapshot,
}

impl ConfigSource {
    /// Reads the configuration of a host that starts.
    ///
    /// # Errors
    /// All mistakes that are found without loading a component.
    pub fn load(&self) -> Result<LoadedConfig, InvalidConfig> {
        self.read(None).result
    }

    /// Reads the configuration again, for a host that runs with `running`. The plugins folder stays that of `running`, and
    /// a file that is gone or empty is an error.
    pub fn reload(&self, running: &Config) -> ReloadedConfig {
        let Reading { result, log_level, files } = self.read(Some(running));
        ReloadedConfig { result, log_level, files }
    }

    fn read(&self, running: Option<&Config>) -> Reading {
        let mut files = FileSnapshot::default();
        let (document, mut file_error) = match find_document(self, &mut files) {
            Ok(document) => (document, None),
            Err(diagnostic) => (None, Some(diagnostic)),
        };
        if let Some(running) = running {
            file_error = file_error.or_else(|| vanished_file(running, document.as_ref()));
        }
        let (root, syntax_errors) = document.as_ref().map(Document::parse).unwrap_or_default();
        let report = Report::with_files(files, document.as_ref(), syntax_errors);
        let is_complete = file_error.is_none() && !report.has_broken_lines();
        file_error.into_iter().for_each(|diagnostic| report.add(diagnostic));
        if let Some(document) = &document {
            report.warn_of_writers(document.name(), &self.folder.join(document.name()));
        }
        environment::check(&self.environment, &report);

        let config = read(self, running, document.as_ref(), &root, &report);
        let files = report.files();
        let diagnostics = report.into_diagnostics();
        let log_level = if is_complete { log_level(document.as_ref(), &root) } else { None };
        let result = if diagnostics.are_fatal() {
            Err(InvalidConfig { diagnostics, valid_part: is_complete.then(|| Box::new(config)) })
        } else {
            Ok(LoadedConfig { config, warnings: diagnostics })
        };
        Reading { result, log_level, files }
    }
}

/// The level of the log, if `[log]` has no mistake.
fn log_level(document: Option<&Document>, root: &DeTable<'_>) -> Option<String> {
    let report = Report::new(document, Vec::new());
    let log = log::read(Section::root(&report, root).table("log"));
    (report.error_count() == 0).then_some(log.level)
}

/// The file that a flag or variable names, or the default file. The path is recorded in `files`.
pub(crate) fn find_document(
    source: &ConfigSource,
    files: &mut FileSnapshot,
) -> Result<Option<Document>, Diagnostic> {
    let ConfigSource { flags, environment, folder, .. } = source;
    let by_flag = flags.config.as_deref().map(|path| (path, Location::Flag("--config")));
    let by_variable = || {
        let path = environment.get(environment::CONFIG)?;
        Some((Path::new(path), Location::Variable(environment::CONFIG.to_owned())))
    };
    let default = Path::new(DEFAULT_FILE);
    let named = by_flag.or_else(by_variable);
    files.record_file(&folder.join(named.as_ref().map_or(default, |(name, _)| name)));
    match named {
        Some((name, named_at)) => Document::read(name, &folder.join(name), &named_at).map(Some),
        // The default file may be absent. If something is there that can't be read, that is an error.
        None if folder.join(default).symlink_metadata().is_err() => Ok(None),
        None => Document::read(default, &folder.join(default), &Location::whole_file(default)).map(Some),
    }
}

/// An error if the file is gone or empty while the host runs. Such a file is usually about to be written; taken literally,
/// it would remove every companion.
fn vanished_file(running: &Config, found: Option<&Document>) -> Option<Diagnostic> {
    let file = running.file.as_deref()?;
    let (what, remedy) = match found {
        None => ("the file is gone", "Put it back, or start the host again to run without it."),
        Some(document) if document.is_empty() && !running.locations.are_empty() => {
            ("the file is empty", "If that is meant, leave a comment in it: a line that begins with `#`.")
        }
        Some(_) => return None,
    };
    Some(Diagnostic::error(Location::whole_file(file), what, remedy))
}
