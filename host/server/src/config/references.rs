//! What names what: companions their plugins, plugins their credentials. Here names become the things they stand for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use masque_runtime::{Credential, Grants, Reuse};

use super::report::{Report, listed, nearest};
use super::section::Found;
use super::types::{Companion, Limits, Name, Plugin, Source};
use super::{companions, defaults, grants, plugins};
use crate::builtin::Builtin;

type Credentials = BTreeMap<Name, Option<Arc<Credential>>>;

/// The plugins of the file, over those of the plugins folder, over those built-in ones that a companion names; the others
/// need not be loaded.
pub(super) fn plugins(
    drafts: BTreeMap<Name, plugins::Draft>,
    components: &BTreeMap<Name, PathBuf>,
    companions: &BTreeMap<Name, Companion>,
    credentials: &Credentials,
    report: &Report<'_>,
) -> BTreeMap<Name, Plugin> {
    let mut resolved = defaults::plugins();
    resolved.retain(|name, _| companions.values().any(|companion| companion.names(name)));
    for (name, component) in components {
        // Nobody has granted it anything, whatever the built-in one of that name may do.
        let plugin = Plugin {
            source: Source::File(component.clone()),
            settings: serde_json::Map::new(),
            grants: Grants::default(),
            limits: Limits::default(),
        };
        resolved.insert(name.clone(), plugin);
    }
    for (name, draft) in drafts {
        let errors = report.errors();
        let grants = resolve(&name, draft.grants, credentials, report);
        // One that is wrong already is left out: what its component would say of it is no news.
        let Some(source) = draft.source.filter(|_| draft.sound && report.errors() == errors) else {
            resolved.remove(&name);
            continue;
        };
        resolved.insert(name, Plugin { source, settings: draft.settings, grants, limits: draft.limits });
    }
    resolved
}

fn resolve(plugin: &Name, draft: grants::Draft, known: &Credentials, report: &Report<'_>) -> Grants {
    let mut credentials: Vec<Arc<Credential>> = Vec::new();
    for Found { value: name, span } in draft.credentials {
        let Some(credential) = known.get(&name) else {
            let remedy = match nearest(&name, known.keys().map(Name::as_str)) {
                Some(meant) => format!("Did you mean `{meant}`?"),
                None => format!("Add [credentials.{name}] with its origin, header and value."),
            };
            report.error_at(&span, format!("there is no credential `{name}`"), remedy);
            continue;
        };
        // One that is wrong itself has been reported where it stands.
        let Some(credential) = credential else { continue };
        let origin = credential.origin();
        if !draft.http.iter().any(|grant| grant.origin() == origin) {
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
        http: draft.http,
        networks: draft.networks,
        credentials,
        state: draft.state,
        state_shared: draft.state_shared,
        history: draft.history,
        models: draft.models,
        scratch: draft.scratch,
        reuse: draft.reuse.as_ref().map(|reuse| reuse.value),
    };
    if let Some(Found { value: Reuse::Anyone, span }) = draft.reuse
        && let Err(held) = grants.may_serve_anyone()
    {
        report.error_at(
            &span,
            format!("an instance that serves anyone would carry one user's data to the next: `{plugin}` has the grants {}", held.join(", ")),
            "Write `reuse = \"user\"` or `reuse = \"conversation\"`, or take those grants away.",
        );
    }
    grants
}

/// The companions of the file, or the built-in one where it has none. `known` holds the names of all plugins, wrong ones included.
pub(super) fn companions(
    drafts: BTreeMap<Name, companions::Draft>,
    known: &[Name],
    report: &Report<'_>,
) -> BTreeMap<Name, Companion> {
    if drafts.is_empty() {
        return defaults::companions();
    }
    let mut resolved = BTreeMap::new();
    for (name, draft) in drafts {
        for (part, uses) in [
            ("persona", draft.persona.as_slice()),
            ("memory", draft.memory.as_slice()),
            ("model", draft.models.as_slice()),
        ] {
            for Found { value: plugin, span } in uses {
                if !known.contains(plugin) {
                    let what =
                        format!("companion `{name}` has the {part} `{plugin}`, but there is no such plugin");
                    report.error_at(span, what, remedy(plugin, known));
                }
            }
        }
        repeated(&name, &draft.models, report);
        resolved.extend(draft.finish().map(|companion| (name, companion)));
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
        None => format!("Add [plugins.{plugin}], or name one of {}.", listed(known.iter().map(Name::as_str))),
    }
}

/// A client chooses among the models by name, and a model that failed is not the one to fall back on.
fn repeated(companion: &Name, models: &[Found<Name>], report: &Report<'_>) {
    for (index, model) in models.iter().enumerate() {
        if models.iter().take(index).any(|earlier| earlier.value == model.value) {
            let what = format!("companion `{companion}` has the model `{}` twice", model.value);
            report.error_at(&model.span, what, "Keep the first.");
        }
    }
}
