//! Warns of grants that a plugin asked for in vain. A plugin that can work with less does not fail for want of a grant, so only
//! calls that failed are looked at.

use masque_config::{Diagnostic, KeyLocations, Name};
use masque_grants::Grants;
use masque_runtime::{CallError, MissingGrant};

use crate::redact::Redactor;

/// A warning for each grant that the failed call asked for and that `granted` does not have either. What only the trial denies
/// is no reason for a warning.
pub(super) fn missing_grant_warnings(
    locations: &KeyLocations,
    name: &Name,
    granted: &Grants,
    error: &CallError,
    redactor: &Redactor,
) -> Vec<Diagnostic> {
    let missing = error.missing_grants.iter().filter(|missing| !missing.is_in(granted));
    missing
        .map(|missing| {
            let (what, remedy) = in_words(missing, name, error.function);
            let at = locations.plugin(name, &format!("grants/{}", missing.key()));
            Diagnostic::warning(at, redactor.redact(&what), redactor.redact(&remedy))
        })
        .collect()
}

/// What is missing, and what to write to grant it.
fn in_words(missing: &MissingGrant, name: &Name, function: &str) -> (String, String) {
    match missing {
        MissingGrant::Http { method, origin, .. } => (
            format!(
                "`{function}` of plugin `{name}` failed: no `http` grant allows its {method} to {origin}"
            ),
            format!(
                "Add \"{origin}\" to `http` in the grants of [plugins.{name}], or correct the address in its settings."
            ),
        ),
        _ => {
            let key = missing.key();
            let to_add = match missing {
                MissingGrant::StateShared => "state = true, state_shared = true".to_owned(),
                _ => format!("{key} = true"),
            };
            (
                format!("`{function}` of plugin `{name}` failed: it needs the grant `{key}`"),
                format!("Add `grants = {{ {to_add} }}` to [plugins.{name}]."),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use masque_runtime::Cause;
    use masque_runtime::contract::Failure;

    use super::*;

    fn warnings(missing: MissingGrant, granted: &Grants) -> Vec<String> {
        let error = CallError {
            plugin: "keeper".into(),
            version: "1.0.0".into(),
            function: "recall",
            cause: Cause::Failed(Box::new(Failure::new("denied", "needs a grant"))),
            denied: vec![missing.to_string()],
            missing_grants: vec![missing],
            error_output: Vec::new(),
        };
        let name: Name = "keeper".parse().unwrap();
        let warnings =
            missing_grant_warnings(&KeyLocations::default(), &name, granted, &error, &Redactor::default());
        warnings.iter().map(ToString::to_string).collect()
    }

    fn request(url: &str) -> MissingGrant {
        MissingGrant::Http {
            method: "POST".parse().unwrap(),
            origin: url.parse().unwrap(),
            path: "/v1/chat".to_owned(),
        }
    }

    #[test]
    fn a_warning_names_the_plugin_the_function_and_what_to_add() {
        let found = warnings(MissingGrant::State, &Grants::default());
        let [warning] = &found[..] else { panic!("{found:?}") };
        for words in
            ["`recall` of plugin `keeper`", "`state`", "`grants = { state = true }` to [plugins.keeper]"]
        {
            assert!(warning.contains(words), "{warning}");
        }
        let granted = Grants { http: vec!["https://a.test".parse().unwrap()], ..Grants::default() };
        let found = warnings(request("https://b.test"), &granted);
        let [warning] = &found[..] else { panic!("{found:?}") };
        assert!(warning.contains("POST to https://b.test"), "{warning}");
        assert!(warning.contains("Add \"https://b.test\" to `http`"), "{warning}");
    }

    #[test]
    fn what_only_the_trial_denies_is_no_reason_for_a_warning() {
        let granted = Grants {
            models: true,
            state: true,
            http: vec!["https://a.test".parse().unwrap()],
            ..Grants::default()
        };
        for missing in [MissingGrant::Models, MissingGrant::State, request("https://a.test")] {
            assert_eq!(warnings(missing, &granted), Vec::<String>::new());
        }
    }
}
