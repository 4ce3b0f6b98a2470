//! What a plugin says of itself, put together from its crate and from the type of its settings.

use crate::{Description, Plugin};
use schemars::generate::SchemaSettings;

/// What [`export!`](crate::export) knows of a plugin at compile time.
pub trait Described: Plugin {
    /// `persona`, `memory` or `model`.
    const KIND: &'static str;
    /// The crate's name.
    const NAME: &'static str;
    /// The crate's version.
    const VERSION: &'static str;
    /// The layout of the plugin's stored state; raised when an older version could not read it.
    const STATE_VERSION: u32;
}

/// The description that the host reads when it loads the plugin.
///
/// The name is that of the crate without the prefix `masque-plugin-`; settings that the type does not know are refused.
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
    let open = schema.get("additionalProperties").is_none() && schema.get("unevaluatedProperties").is_none();
    if open {
        schema.insert("unevaluatedProperties".into(), false.into());
    }
    // The stricter word is the better known one; the other is only needed where properties come from several schemas.
    let composed = ["allOf", "anyOf", "oneOf", "$ref"].iter().any(|word| schema.get(*word).is_some());
    if open && !composed {
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
