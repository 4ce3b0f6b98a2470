//! Reads all sections and resolves their references to each other.

use std::path::Path;

use masque_grants::Name;
use toml::de::DeTable;

use crate::config::Config;
use crate::defaults;
use crate::diagnostic::{Diagnostic, Location};
use crate::document::Document;
use crate::environment::{self, Stage};
use crate::key_locations::KeyLocations;
use crate::listen::{public_address, refuse_open_address};
use crate::otel;
use crate::plugins_folder;
use crate::production;
use crate::references;
use crate::report::Report;
use crate::section::Section;
use crate::sections::data::{DEFAULT_DATA, Data};
use crate::sections::plugins::ComponentFolders;
use crate::sections::{
    active_set, admin, auth, companions, cors, credentials, data, database, erasure, jobs, limits, log,
    plugins, records, redis, retention, sandbox, server, tls, turn,
};
use crate::source::ConfigSource;

/// The plugins folder in the data folder.
const PLUGINS_FOLDER: &str = "plugins";

/// Reads the configuration. After a mistake, reading continues with a valid value, so the result may be used only if the
/// report has no errors. `running` is the configuration of the host if it runs already: its plugins folder stays.
pub(crate) fn read(
    source: &ConfigSource,
    running: Option<&Config>,
    document: Option<&Document>,
    root: &DeTable<'_>,
    report: &Report<'_>,
) -> Config {
    let ConfigSource { flags, environment, folder, default_card } = source;
    let file = document.map(|document| document.name().to_path_buf());
    // Relative paths in the file start at the folder of the file, those of variables and flags where the host is started.
    let base =
        file.as_deref().and_then(Path::parent).map_or(folder.to_path_buf(), |parent| folder.join(parent));

    let mut sections = Section::root(report, root);
    let (mut server, listen) = server::read(sections.table("server"));
    // `--production` reads the configuration as with `ENVIRONMENT=production`, so that both find the same mistakes.
    let stage = Stage::of(environment).with_rules_of_production(flags.production);
    let auth = auth::read(sections.table("auth"), environment, stage, &base, folder);
    server.listen = public_address(flags, environment, listen, auth.required, report);
    let tls = tls::read(sections.table("tls"), &base);
    let (admin, admin_listen) = admin::read(sections.table("admin"));
    if let Some(found) = admin_listen {
        refuse_open_address(found.value, report.location(&found.span), auth.required, report);
    }
    let cors = cors::read(sections.table("cors"), environment, auth.required);
    let stream = turn::read_stream(sections.table("stream"));
    let turn = turn::read(sections.table("turn"));
    let jobs = jobs::read(sections.table("jobs"));
    let limits = limits::read(sections.table("limits"), auth.required);
    let drain = turn::read_drain(sections.table("drain"));
    let (data, compiled) = data::read(sections.table("data"), &base);
    let database = database::read(sections.table("database"), environment, &base);
    let redis = redis::read(sections.table("redis"), environment, &base);
    let erasure = erasure::read(sections.table("erasure"), &base);
    let retention = retention::read(sections.table("retention"));
    let records = records::read(sections.table("records"), auth.required);
    let log = log::read(sections.table("log"));
    let traces = otel::read(environment, folder, report);
    let sandbox = sandbox::read(sections.table("sandbox"));
    let active_set = active_set::read(sections.table("active_set"));
    let named_data = data::named(flags, environment, folder);
    let data = named_data.or(data).unwrap_or_else(|| folder.join(DEFAULT_DATA));
    let plugins_folder =
        running.map_or_else(|| data.join(PLUGINS_FOLDER), |running| running.data.plugins.clone());
    let credentials = credentials::read(sections.named("credentials"), environment, &base);
    let components = plugins_folder::components(&plugins_folder, report);
    let folders = ComponentFolders { base: &base, plugins: &plugins_folder, components: &components };
    let plugins = plugins::read(sections.named("plugins"), &folders, sandbox.memory_bytes);
    let companions = companions::read(sections.named("companions"));
    sections.finish();

    // The section of a missing name may be on a line that could not be parsed; its absence is then not reported.
    let discarded = Report::new(None, Vec::new());
    let references = if report.has_broken_lines() { &discarded } else { report };
    let defaults = defaults::plugins(default_card);
    let known: Vec<Name> = defaults.keys().chain(plugins.keys()).chain(components.keys()).cloned().collect();
    let companions = references::companions(companions, &known, references);
    let plugins = references::plugins(plugins, defaults, &components, &companions, &credentials, references);
    let locations = document.map(|document| KeyLocations::new(document, root)).unwrap_or_default();
    let config = Config {
        server,
        tls,
        admin,
        cors,
        auth,
        stream,
        turn,
        jobs,
        limits,
        drain,
        erasure,
        retention,
        data: Data {
            compiled: compiled.unwrap_or_else(|| data.join("compiled")),
            plugins: plugins_folder,
            folder: data,
        },
        database,
        redis,
        records,
        log,
        traces,
        sandbox,
        active_set,
        plugins,
        companions,
        credentials: credentials.into_iter().filter_map(|(name, found)| Some((name, found?))).collect(),
        locations: locations.with_components(components),
        files: report.files(),
        file,
    };
    check_safety(&config, source, stage, report);
    config
}

/// Reports what is not safe: as errors if the rules of production apply. Otherwise it only warns of weak secrets.
fn check_safety(config: &Config, source: &ConfigSource, stage: Stage, report: &Report<'_>) {
    if !stage.is_strict() {
        for (location, what) in production::weak_secrets(config) {
            report.add(Diagnostic::warning(location, what, "Make one with `openssl rand -base64 32`."));
        }
        return;
    }
    let asked_at = match Stage::of(&source.environment).is_strict() {
        true => Location::Variable(environment::STAGE.to_owned()),
        false => Location::Flag("--production"),
    };
    for diagnostic in production::check(config, &source.environment, &asked_at) {
        report.add(diagnostic);
    }
}
