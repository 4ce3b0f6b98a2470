//! Reads the part of a configuration that a command beside a host needs.
//!
//! A running host goes on with its last good configuration while the file has a mistake, so its operator must be able to go
//! on too, such as to revoke a key. What is read here is read as a host reads it and refused with the same errors. The rest
//! is left alone: no plugin is looked for and no secret is resolved. A file that is not TOML is refused, since any part of
//! it may be on the broken line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use masque_grants::Name;
use toml::de::DeTable;

use crate::defaults;
use crate::diagnostic::Diagnostics;
use crate::document::Document;
use crate::environment::{self, Stage};
use crate::load::find_document;
use crate::production;
use crate::report::Report;
use crate::section::Section;
use crate::sections::data::DEFAULT_DATA;
use crate::sections::database::Database;
use crate::sections::{auth, data, database, erasure};
use crate::snapshot::FileSnapshot;
use crate::source::ConfigSource;

/// The sections that a part may leave out and that could be taken for a mistyped name of another one.
const SECTIONS: [&str; 2] = ["data", "database"];

/// A part of a configuration without mistakes.
#[derive(Debug)]
pub struct LoadedPart<T> {
    /// The part.
    pub part: T,
    /// What the operator should know nevertheless.
    pub warnings: Diagnostics,
}

/// Where the state of a host is.
#[derive(Clone, Debug)]
pub struct StateConfig {
    /// The data folder.
    pub folder: PathBuf,
    /// `DATABASE_URL` and `[database]`; `None`: state is kept in SQLite, in the data folder.
    pub database: Option<Database>,
    /// The file of the erasure list.
    pub erasures: PathBuf,
    /// The names of the companions, also of those with mistakes.
    pub companions: BTreeSet<Name>,
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
}

/// The issuers of the tokens that a host accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIssuers {
    /// `iss` of the host's own tokens.
    pub own: String,
    /// `iss` of the tokens of each identity provider.
    pub providers: Vec<String>,
}

impl TokenIssuers {
    /// Whether tokens of this issuer can be valid here.
    pub fn trusts(&self, issuer: &str) -> bool {
        issuer == self.own || self.providers.iter().any(|provider| provider == issuer)
    }
}

impl ConfigSource {
    /// Reads only the data folder.
    ///
    /// # Errors
    /// The file can't be read or is not TOML, or `[data]` has a mistake and neither a flag nor a variable names the folder.
    pub fn load_data_folder(&self) -> Result<LoadedPart<PathBuf>, Diagnostics> {
        self.load_part(|reader| {
            let mut sections = reader.sections();
            let folder = data_folder(self, &mut sections, &reader.base);
            sections.finish_part(&SECTIONS);
            folder
        })
    }

    /// Reads only where the state is: the data folder, the database and the erasure list.
    ///
    /// # Errors
    /// The file can't be read or is not TOML, or there is a mistake in `[data]` (unless a flag or a variable names the
    /// folder), in `[database]`, in `[erasure]`, or in the variables of the database.
    pub fn load_state(&self) -> Result<LoadedPart<StateConfig>, Diagnostics> {
        self.load_part(|reader| {
            let PartReader { document, root, report, base } = reader;
            environment::check_database(&self.environment, report);
            let mut sections = reader.sections();
            let folder = data_folder(self, &mut sections, base);
            let database = database::read(sections.table("database"), &self.environment, base);
            let erasures = erasure::read(sections.table("erasure"), base).list(&folder);
            sections.finish_part(&SECTIONS);
            if Stage::of(&self.environment).is_strict() {
                let warnings = production::database_warnings(database.as_ref(), &self.environment);
                warnings.into_iter().for_each(|warning| report.add(warning));
            }
            StateConfig {
                folder,
                database,
                erasures,
                companions: companion_names(root),
                file: document.map(|document| document.name().to_path_buf()),
            }
        })
    }

    /// Reads only the issuers of tokens.
    ///
    /// # Errors
    /// The file can't be read or is not TOML, or an `issuer` in `[auth]` or `[auth.issuers.NAME]` has a mistake.
    pub fn load_token_issuers(&self) -> Result<LoadedPart<TokenIssuers>, Diagnostics> {
        self.load_part(|reader| {
            let mut sections = reader.sections();
            let (own, providers) = auth::read_issuer_names(sections.table("auth"));
            sections.finish_part(&SECTIONS);
            TokenIssuers { own, providers }
        })
    }

    fn load_part<T>(
        &self,
        read: impl FnOnce(&PartReader<'_, '_>) -> T,
    ) -> Result<LoadedPart<T>, Diagnostics> {
        let found = find_document(self, &mut FileSnapshot::default());
        let document = found.map_err(|diagnostic| Diagnostics::new(vec![diagnostic]))?;
        let (root, syntax_errors) = document.as_ref().map(Document::parse).unwrap_or_default();
        let report = Report::new(document.as_ref(), syntax_errors);
        if let Some(document) = &document {
            report.warn_of_writers(document.name(), &self.folder.join(document.name()));
        }
        environment::check_names(&self.environment, &report);
        // Relative paths in the file start at the folder of the file.
        let parent = document.as_ref().and_then(|document| document.name().parent());
        let base = parent.map_or_else(|| self.folder.clone(), |parent| self.folder.join(parent));

        let part = read(&PartReader { document: document.as_ref(), root: &root, report: &report, base });
        let diagnostics = report.into_diagnostics();
        if diagnostics.are_fatal() {
            Err(diagnostics)
        } else {
            Ok(LoadedPart { part, warnings: diagnostics })
        }
    }
}

/// The file while a part of it is read.
struct PartReader<'r, 'd> {
    document: Option<&'d Document>,
    root: &'r DeTable<'d>,
    report: &'r Report<'d>,
    /// The folder at which relative paths of the file start.
    base: PathBuf,
}

impl<'r, 'd> PartReader<'r, 'd> {
    fn sections(&self) -> Section<'r, 'd> {
        Section::root(self.report, self.root)
    }
}

/// The data folder. The section is read only if neither the flag nor the variable names one.
fn data_folder(source: &ConfigSource, sections: &mut Section<'_, '_>, base: &Path) -> PathBuf {
    let ConfigSource { flags, environment, folder, .. } = source;
    data::named(flags, environment, folder)
        .or_else(|| data::read(sections.table("data"), base).0)
        .unwrap_or_else(|| folder.join(DEFAULT_DATA))
}

/// The names of the companions of the file, or that of the default companion. Their mistakes are not reported.
fn companion_names(root: &DeTable<'_>) -> BTreeSet<Name> {
    let discarded = Report::new(None, Vec::new());
    let companions = Section::root(&discarded, root).named("companions");
    match companions.is_empty() {
        true => defaults::companions().into_keys().collect(),
        false => companions.into_keys().collect(),
    }
}
