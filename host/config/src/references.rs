//! Resolves names: companions name their plugins, plugins name their credentials. Names without a target are reported.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use masque_grants::{Builtin, Credential, Grants, Name, Reuse};

use crate::defaults;
use crate::report::Report;
use crate::section::Located;
use crate::sections::companions::{Companion, ParsedCompanion};
use crate::sections::grants::ParsedGrants;
use crate::sections::plugin_limits::PluginLimits;
use crate::sections::plugins::{ParsedPlugin, Plugin, PluginSource};
use crate::sections::settings::ParsedSettings;
use crate::wording::{list, nearest};

/// `None` stands for a credential with a mistake, which was reported.
type Credentials = BTreeMap<Name, Option<Arc<Credential>>>;

/// The plugins of the file, of the plugins folder, and the default plugins that a companion names; the other default plugins
/// need not be loaded. On equal names the file takes precedence over the folder, and the folder over the defaults.
pub(crate) fn plugins(
    parsed: BTreeMap<Name, ParsedPlugin>,
    defaults: BTreeMap<Name, Plugin>,
    components: &BTreeMap<Name, PathBuf>,
    companions: &BTreeMap<Name, Companion>,
    credentials: &Credentials,
    report: &Report<'_>,
) -> BTreeMap<Name, Plugin> {
    let mut resolved = defaults;
    resolved.retain(|name, _| companions.values().any(|companion| companion.names(name)));
    for (name, component) in components {
        // It has no grants, even if a default plugin of the same name has some.
        let plugin = Plugin {
            source: PluginSource::File(component.clone()),
            settings: serde_json::Map::new(),
            setting_files: BTreeMap::new(),
            grants: Grants::default(),
            limits: PluginLimits::default(),
        };
        resolved.insert(name.clone(), plugin);
    }
    for (name, plugin) in parsed {
        let ParsedPlugin { source, settings, grants, limits, is_valid } = plugin;
        let errors_before = report.error_count();
        let grants = resolve_grants(&name, grants, credentials, report);
        // A plugin with mistakes is left out, so that loading it adds no further diagnostics.
        let Some(source) = source.filter(|_| is_valid && report.error_count() == errors_before) else {
            resolved.remove(&name);
            continue;
        };
        let ParsedSettings { values: settings, files: setting_files } = settings;
        resolved.insert(name, Plugin { source, settings, setting_files, grants, limits });
    }
    resolved
}

fn resolve_grants(plugin: &Name, parsed: ParsedGrants, known: &Credentials, report: &Report<'_>) -> Grants {
    let mut credentials: Vec<Arc<Credential>> = Vec::new();
    for Located { value: name, span } in parsed.credentials {
        let Some(credential) = known.get(&name) else {
            let remedy = match nearest(&name, known.keys().map(Name::as_str)) {
                Some(meant) => format!("Did you mean `{meant}`?"),
                None => format!("Add [credentials.{name}] with its origin, header and value."),
            };
            report.error_at(&span, format!("there is no credential `{name}`"), remedy);
            continue;
        };
        // The mistake in the credential itself was reported.
        let Some(credential) = credential else { continue };
        let origin = credential.origin();
        if !parsed.http.iter().any(|grant| grant.origin() == origin) {
            report.error_at(
                &span,
                format!("credential `{name}` is for {origin}, which the plugin `{plugin}` may not reach"),
                format!("Add \"{origin}\" to `http` in [plugins.{plugin}.grants]."),
            );
        }
        let same = |other: &&Arc<Credential>| {
            other.origin() == origin && other.header() == credential.header() && other.name() != &*name
        };
        if let Some(other) = credentials.iter().find(same) {
            report.error_at(
                &span,
                format!(
                    "credentials `{}` and `{name}` both set `{}` for {origin}",
                    other.name(),
                    credential.header()
                ),
                "Grant one of the two.",
            );
        }
        credentials.push(Arc::clone(credential));
    }
    let grants = Grants {
        http: parsed.http,
        networks: parsed.networks,
        credentials,
        state: parsed.state,
        state_shared: parsed.state_shared,
        history: parsed.history,
        models: parsed.models,
        scratch: parsed.scratch,
        reuse: parsed.reuse.as_ref().map(|reuse| reuse.value),
    };
    if let Some(Located { value: Reuse::Anyone, span }) = parsed.reuse
        && let Err(granted) = grants.may_serve_anyone()
    {
        report.error_at(
            &span,
            format!("an instance that serves anyone would carry one user's data to the next: `{plugin}` has the grants {}", granted.join(", ")),
            "Write `reuse = \"user\"` or `reuse = \"conversation\"`, or take those grants away.",
        );
    }
    grants
}

/// The companions of the file, or the default companion if the file has none. `known` holds the names of all plugins,
/// including those with mistakes.
pub(crate) fn companions(
    parsed: BTreeMap<Name, ParsedCompanion>,
    known: &[Name],
    report: &Report<'_>,
) -> BTreeMap<Name, Companion> {
    if parsed.is_empty() {
        return defaults::companions();
    }
    let mut resolved = BTreeMap::new();
    for (name, companion) in parsed {
        for (part, uses) in [
            ("persona", companion.persona.as_slice()),
            ("memory", companion.memory.as_slice()),
            ("model", companion.models.as_slice()),
        ] {
            for Located { value: plugin, span } in uses {
                if !known.contains(plugin) {
                    let what =
                        format!("companion `{name}` has the {part} `{plugin}`, but there is no such plugin");
                    report.error_at(span, what, remedy(plugin, known));
                }
            }
        }
        refuse_repeated_models(&name, &companion.models, report);
        resolved.extend(companion.finish().map(|companion| (name, companion)));
    }
    resolved
}

fn remedy(plugin: &Name, known: &[Name]) -> String {
    if plugin.parse::<Builtin>().is_ok() {
        return format!(
            "Add [plugins.{plugin}] with `source = \"builtin:{plugin}\"`, its settings and its grants."
        );
    }
    match nearest(plugin, known.iter().map(Name::as_str)) {
        Some(meant) => format!("Did you mean `{meant}`?"),
        None => format!("Add [plugins.{plugin}], or name one of {}.", list(known.iter().map(Name::as_str))),
    }
}

/// Reports a model that is named twice: clients choose a model by its name, and falling back to the model that failed is
/// useless.
fn refuse_repeated_models(companion: &Name, models: &[Located<Name>], report: &Report<'_>) {
    for (index, model) in models.iter().enumerate() {
        if models.iter().take(index).any(|earlier| earlier.value == model.value) {
            let what = format!("companion `{companion}` has the model `{}` twice", model.value);
            report.error_at(&model.span, what, "Keep the first.");
        }
    }
}
