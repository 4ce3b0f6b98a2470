//! `[records]`: what is recorded of turns, for whoever asks why one went as it did.

use std::time::Duration;

use serde::Serialize;
use toml::de::DeValue;

use crate::diagnostic::Location;
use crate::section::Section;
use crate::units::{DAY, GIB, KIB, MIB, MINUTE};
use crate::value::{self, Expected, InvalidValue};

/// What is recorded of turns.
#[derive(Clone, Debug, Serialize)]
pub struct Records {
    /// Whether texts are recorded.
    pub content: RecordContent,
    /// Where the operator chose that.
    #[serde(skip)]
    pub content_at: Option<Location>,
    /// The longest record in bytes.
    pub max_record_bytes: usize,
    /// The most bytes of all records. The oldest go first.
    pub max_total_bytes: usize,
    /// How long a record is kept.
    pub max_age: Duration,
    /// The share of turns that is recorded, from 0 to 1.
    pub share: f64,
}

/// How much of a turn is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordContent {
    /// Everything, texts included.
    Full,
    /// Versions, sizes, token counts, timings and digests, and no texts.
    Digests,
    /// Nothing.
    Off,
}

impl RecordContent {
    const NAMES: [(&str, Self); 3] = [("full", Self::Full), ("digests", Self::Digests), ("off", Self::Off)];

    /// The word in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Digests => "digests",
            Self::Off => "off",
        }
    }
}

/// Reads the section. Texts are recorded by default only where the host has one user, which is whoever reaches it.
pub(crate) fn read(mut section: Section<'_, '_>, is_authentication_required: bool) -> Records {
    let expected = Expected { what: "\"full\", \"digests\" or \"off\"", example: "\"digests\"" };
    let content = section.read("content", expected, |value| {
        let text = value::text(value)?;
        let found = RecordContent::NAMES.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, content)| content).ok_or(InvalidValue::Form)
    });
    section.defaults("content", || "digests".to_owned());
    let default = if is_authentication_required { RecordContent::Digests } else { RecordContent::Full };
    let share = section.read("share", Expected { what: "a number", example: "0.1" }, share);
    section.defaults("share", || "1".to_owned());
    let records = Records {
        content_at: content.as_ref().map(|found| section.report.location(&found.span)),
        content: content.map_or(default, |found| found.value),
        max_record_bytes: section.size("max_record_bytes", 256 * KIB, 4 * KIB..=4 * MIB).value,
        max_total_bytes: section.size("max_total_bytes", GIB, MIB..=1024 * GIB).value,
        max_age: section.duration("max_age", 7 * DAY, MINUTE..=400 * DAY),
        share: share.map_or(1.0, |found| found.value),
    };
    section.finish();
    records
}

/// A share, as a whole number or with a fraction.
fn share(value: &DeValue<'_>) -> Result<f64, InvalidValue> {
    let number: f64 = match value {
        DeValue::Float(float) => float.as_str().parse().map_err(|_| InvalidValue::Form)?,
        DeValue::Integer(integer) => integer.as_str().parse().map_err(|_| InvalidValue::Form)?,
        _ => return Err(InvalidValue::Type),
    };
    // Not a number is in no range.
    if (0.0..=1.0).contains(&number) {
        Ok(number)
    } else {
        Err(InvalidValue::Range("from 0 to 1".to_owned()))
    }
}
