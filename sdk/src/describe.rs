//! Describes a plugin from its crate and the type of its settings.

use crate::{Description, Plugin};
use schemars::generate::SchemaSettings;

/// What is known about a plugin at compile time. Implemented by [`export!`](crate::export).
pub trait Described: Plugin {
    /// `persona`, `memory` or `model`.
    const KIND: &'static str;
    /// The crate's name.
    const NAME: &'static str;
    /// The crate's version.
    const VERSION: &'static str;
    /// The version of the plugin's stored state. Raise it when an older version of the plugin can't read the new state.
    const STATE_VERSION: u32;
}

/// Returns the description that the host reads when it loads the plugin.
///
/// The name is the crate's without the prefix `masque-plugin-`. The schema refuses settings that the type does not know.
///
/// ```
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Settings { mood: Option<String> }
/// # impl masque_sdk::Memory for Settings {
/// #     async fn recall(&self, _: masque_sdk::Turn, _: u32) -> masque_sdk::Result<masque_sdk::Recollection> {
/// #         Ok(Default::default())
/// #     }
/// # }
/// masque_sdk::export!(Settings: memory);
/// # fn main() {
/// assert!(masque_sdk::describe::<Settings>().settings_schema.contains("\"additionalProperties\":false"));
/// # }
/// ```
pub fn describe<P: Described>() -> Description {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<P>();
    let is_open =
        schema.get("additionalProperties").is_none() && schema.get("unevaluatedProperties").is_none();
    if is_open {
        schema.insert("unevaluatedProperties".into(), false.into());
    }
    // Prefer `additionalProperties`, which more tools know. It sees only the properties of its own schema, so a schema
    // that is composed of others needs `unevaluatedProperties`.
    let is_composed =
        ["allOf", "anyOf", "oneOf", "$ref"].iter().any(|keyword| schema.get(*keyword).is_some());
    if is_open && !is_composed {
        schema.remove("unevaluatedProperties");
        schema.insert("additionalProperties".into(), false.into());
    }
    Description {
        kind: P::KIND.into(),
        name: P::NAME.strip_prefix("masque-plugin-").unwrap_or(P::NAME).replace('_', "-").to_lowercase(),
        version: P::VERSION.into(),
        settings_schema: schema.as_value().to_string(),
        state_version: P::STATE_VERSION,
        metadata: Vec::new(),
    }
}
