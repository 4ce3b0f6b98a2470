//! The configuration: defaults, under `masque.toml`, under environment variables, under flags.
//!
//! Everything is parsed and checked here, once; the rest of the host gets a [`Config`] of plain values. Each section has a
//! room of its own, all of which report into one list, so that an operator sees every mistake at once. What only shows
//! when a plugin is loaded is checked by whoever loads it, and placed in the file by [`Locations`].

mod auth;
mod companions;
mod credentials;
mod defaults;
mod digest;
mod document;
mod edge;
mod environment;
mod folder;
mod grants;
mod host;
mod limits;
mod locations;
mod origin;
mod plugins;
mod problem;
mod production;
mod references;
mod report;
mod secrets;
mod section;
mod settings;
mod sources;
mod types;
mod values;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub(crate) use self::auth::from_file as secrets_from_file;
pub(crate) use self::digest::Terms;
use self::document::Document;
pub(crate) use self::environment::Environment;
use self::environment::Stage;
pub(crate) use self::locations::Locations;
pub(crate) use self::origin::{Attempt, Mistaken, Origin};
pub(crate) use self::problem::{Place, Problem, Problems};
use self::report::Report;
pub(crate) use self::report::nearest;
pub(crate) use self::secrets::NamedSecret;
use self::section::Section;
pub(crate) use self::sources::Sources;
use self::types::Data;
pub(crate) use self::types::{
    Allowance, Auth, Companion, Config, Cors, Issuer, JwkSource, Log, LogFormat, Name, Plugin, Server,
    Source, Tls,
};

/// Read where nothing else is named, if it is there.
const DEFAULT_FILE: &str = "masque.toml";

/// In the data folder.
const PLUGINS_FOLDER: &str = "plugins";

/// What the command line said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) config: Option<PathBuf>,
    pub(crate) listen: Option<String>,
    pub(crate) data: Option<PathBuf>,
    /// To be judged as if it were for production.
    pub(crate) production: bool,
}

/// A configuration that a host can start with, and what its operator should know all the same.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) warnings: Problems,
}

/// Reads the configuration of a host that is started in `folder` (empty for the process's own).
///
/// # Errors
/// Every mistake and every warning, in the order of their places.
#[cfg(test)]
pub(crate) fn load(flags: &Flags, environment: &Environment, folder: &Path) -> Result<Loaded, Problems> {
    let origin =
        Origin { flags: flags.clone(), environment: environment.clone(), folder: folder.to_path_buf() };
    origin.load().map_err(|mistaken| mistaken.problems)
}

/// Goes on after each mistake with what would be right, so the result counts only where the report has no error.
/// `running` is a host that reads its configuration again: its plugins folder is where it was.
fn read(
    origin: &Origin,
    running: Option<&Config>,
    document: Option<&Document>,
    root: &DeTable<'_>,
    report: &Report<'_>,
) -> Config {
    let Origin { flags, environment, folder } = origin;
    let file = document.map(|document| document.name().to_path_buf());
    // Paths in the file start at the file, those of variables and flags where the host is started.
    let beside =
        file.as_deref().and_then(Path::parent).map_or(folder.to_path_buf(), |parent| folder.join(parent));

    let mut sections = Section::root(report, root);
    let (mut server, listen) = host::server(sections.table("server"));
    let stage = Stage::of(environment);
    let auth = auth::read(sections.table("auth"), environment, stage, &beside, folder);
    server.listen = listen_on(flags, environment, listen, auth.required, report);
    let tls = edge::tls(sections.table("tls"), &beside);
    let (admin, admin_listen) = edge::admin(sections.table("admin"));
    if let Some(found) = admin_listen {
        stay_on_this_machine(found.value, report.place(&found.span), auth.required, report);
    }
    let cors = edge::cors(sections.table("cors"), environment, auth.required);
    let stream = host::stream(sections.table("stream"));
    let turn = host::turn(sections.table("turn"));
    let limits = limits::read(sections.table("limits"), auth.required);
    let drain = host::drain(sections.table("drain"));
    let (data, compiled) = host::data(sections.table("data"), &beside);
    let log = host::log(sections.table("log"));
    let sandbox = host::sandbox(sections.table("sandbox"));
    let named_data = flags.data.clone().or_else(|| environment.get(environment::DATA).map(PathBuf::from));
    let data =
        named_data.map(|path| folder.join(path)).or(data).unwrap_or_else(|| folder.join(host::DEFAULT_DATA));
    let plugins_folder =
        running.map_or_else(|| data.join(PLUGINS_FOLDER), |running| running.data.plugins.clone());
    let credentials = credentials::read(sections.named("credentials"), environment, &beside);
    let components = folder::components(&plugins_folder, report);
    let places = plugins::Places { beside: &beside, folder: &plugins_folder, components: &components };
    let plugins = plugins::read(sections.named("plugins"), &places, sandbox.memory_bytes);
    let companions = companions::read(sections.named("companions"));
    sections.finish();

    // A name may be defined on a line that could not be read.
    let scratch = Report::new(None, Vec::new());
    let references = if report.is_torn() { &scratch } else { report };
    let known: Vec<Name> = defaults::plugins()
        .into_keys()
        .chain(plugins.keys().cloned())
        .chain(components.keys().cloned())
        .collect();
    let companions = references::companions(companions, &known, references);
    let plugins = references::plugins(plugins, &components, &companions, &credentials, references);
    let locations = document.map(|document| Locations::new(document, root)).unwrap_or_default();
    let config = Config {
        server,
        tls,
        admin,
        cors,
        auth,
        stream,
        turn,
        limits,
        drain,
        data: Data {
            compiled: compiled.unwrap_or_else(|| data.join("compiled")),
            plugins: plugins_folder,
            folder: data,
        },
        log,
        sandbox,
        plugins,
        companions,
        locations: locations.and_components(components),
        sources: report.sources(),
        file,
    };
    judge(&config, origin, stage, report);
    config
}

/// Reports what is not safe: as mistakes where it has to be, and what is weak anywhere as warnings.
fn judge(config: &Config, origin: &Origin, stage: Stage, report: &Report<'_>) {
    let place = match stage.is_strict() {
        true => Place::Variable(environment::STAGE.to_owned()),
        false if origin.flags.production => Place::Flag("--production"),
        false => {
            for (place, what) in production::weak_secrets(config) {
                report.add(Problem::warning(place, what, "Make one with `openssl rand -base64 32`."));
            }
            return;
        }
    };
    for problem in production::unsafe_in(config, &origin.environment, &place) {
        report.add(problem);
    }
}

/// The file that a flag or variable names, or the default one. Where it is looked for is noted in `sources`.
fn find(origin: &Origin, sources: &mut Sources) -> Result<Option<Document>, Problem> {
    let Origin { flags, environment, folder } = origin;
    let by_flag = flags.config.as_deref().map(|path| (path, Place::Flag("--config")));
    let by_variable = || {
        let path = environment.get(environment::CONFIG)?;
        Some((Path::new(path), Place::Variable(environment::CONFIG.to_owned())))
    };
    let default = Path::new(DEFAULT_FILE);
    let named = by_flag.or_else(by_variable);
    sources.note_file(&folder.join(named.as_ref().map_or(default, |(name, _)| name)));
    match named {
        Some((name, asked_by)) => Document::read(name, &folder.join(name), &asked_by).map(Some),
        // Whatever stands under that name was meant to be read, so only its absence is no mistake.
        None if folder.join(default).symlink_metadata().is_err() => Ok(None),
        None => Document::read(default, &folder.join(default), &Place::whole_file(default)).map(Some),
    }
}

/// The address that counts. While everyone who reaches the host is its one user, that must be this machine alone.
fn listen_on(
    flags: &Flags,
    environment: &Environment,
    in_file: Option<section::Found<SocketAddr>>,
    authenticated: bool,
    report: &Report<'_>,
) -> SocketAddr {
    let parse = |text: &str, place: Place| match host::parse_listen(text) {
        Some(address) => Some((address, place)),
        None => {
            let what = format!("\"{}\" is not an address with a port", text.escape_debug());
            report.error(place, what, "Write for example `127.0.0.1:8000`.");
            None
        }
    };
    let by_flag = flags.listen.as_deref().map(|text| parse(text, Place::Flag("--listen")));
    let variable = environment.get(environment::LISTEN);
    let by_variable = variable.map(|text| parse(text, Place::Variable(environment::LISTEN.to_owned())));
    let in_file = in_file.map(|found| Some((found.value, report.place(&found.span))));
    match by_flag.or(by_variable).or(in_file).flatten() {
        None => host::DEFAULT_LISTEN,
        Some((address, place)) => {
            stay_on_this_machine(address, place, authenticated, report);
            address
        }
    }
}

/// Refuses an address that is not loopback, unless callers have to prove who they are.
fn stay_on_this_machine(address: SocketAddr, place: Place, authenticated: bool, report: &Report<'_>) {
    if !authenticated && !address.ip().to_canonical().is_loopback() {
        report.error(
            place,
            format!("{address} is reached from other machines, and authentication is off"),
            "Listen on 127.0.0.1 or [::1], or turn authentication on: set JWT_SECRET_KEY, or [auth.issuers.NAME].",
        );
    }
}
