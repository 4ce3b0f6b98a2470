//! Parses single values: durations, sizes, numbers, texts, paths. Pure: what is wrong with a value is returned; the
//! caller knows where the value is.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

/// What a value should be, for the sentence that says that it is not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) what: &'static str,
    /// A right value, as it is written in the file.
    pub(crate) example: &'static str,
}

pub(crate) const DURATION: Expected = Expected { what: "a duration", example: "\"10s\"" };
pub(crate) const SIZE: Expected = Expected { what: "a size", example: "\"64KiB\"" };
pub(crate) const COUNT: Expected = Expected { what: "a whole number", example: "16" };
pub(crate) const FLAG: Expected = Expected { what: "true or false", example: "true" };

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InvalidValue {
    /// The value has another type.
    Type,
    /// The value has the right type, but not the expected form.
    Form,
    /// The value is outside the range, which is named.
    Range(String),
    /// What is wrong, and the remedy.
    Other(String, String),
}

/// A string.
pub(crate) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, InvalidValue> {
    value.as_str().ok_or(InvalidValue::Type)
}

/// A string that is not empty.
pub(crate) fn non_empty<'v>(value: &'v DeValue<'_>) -> Result<&'v str, InvalidValue> {
    match text(value)? {
        "" => Err(InvalidValue::Form),
        text => Ok(text),
    }
}

/// A path that is not empty; a relative one starts at `base`.
pub(crate) fn path(value: &DeValue<'_>, base: &Path) -> Result<PathBuf, InvalidValue> {
    non_empty(value).map(|path| base.join(path))
}

pub(crate) fn flag(value: &DeValue<'_>) -> Result<bool, InvalidValue> {
    value.as_bool().ok_or(InvalidValue::Type)
}

pub(crate) fn duration(
    value: &DeValue<'_>,
    allowed: &RangeInclusive<Duration>,
) -> Result<Duration, InvalidValue> {
    let duration = humantime::parse_duration(text(value)?).map_err(|_| InvalidValue::Form)?;
    within(duration, allowed, show_duration)
}

/// A number of bytes, as a whole number or with a unit.
pub(crate) fn size(value: &DeValue<'_>, allowed: &RangeInclusive<usize>) -> Result<usize, InvalidValue> {
    let bytes = match value {
        DeValue::Integer(_) => integer(value)?,
        DeValue::String(text) => {
            let size: bytesize::ByteSize = text.parse().map_err(|_| InvalidValue::Form)?;
            size.as_u64().into()
        }
        _ => return Err(InvalidValue::Type),
    };
    // A negative size becomes 0, which no range allows.
    within(usize::try_from(bytes.max(0)).unwrap_or(usize::MAX), allowed, show_size)
}

pub(crate) fn count(value: &DeValue<'_>, allowed: &RangeInclusive<u64>) -> Result<u64, InvalidValue> {
    let allowed = i128::from(*allowed.start())..=i128::from(*allowed.end());
    let number = within(integer(value)?, &allowed, |number| number.to_string())?;
    u64::try_from(number).map_err(|_| InvalidValue::Form)
}

fn integer(value: &DeValue<'_>) -> Result<i128, InvalidValue> {
    let integer = value.as_integer().ok_or(InvalidValue::Type)?;
    // A number that does not fit into 128 bits is outside every range.
    Ok(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX))
}

fn within<T: PartialOrd + Copy>(
    value: T,
    allowed: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, InvalidValue> {
    if allowed.contains(&value) {
        Ok(value)
    } else {
        Err(InvalidValue::Range(format!("from {} to {}", show(*allowed.start()), show(*allowed.end()))))
    }
}

/// The duration in the units that a file may use. Whole days are not shown as months or years, which are no whole days.
pub(crate) fn show_duration(duration: Duration) -> String {
    const SECONDS_OF_DAY: u64 = 24 * 3600;
    let days = duration.as_secs() / SECONDS_OF_DAY;
    if days > 1 && duration == Duration::from_secs(days * SECONDS_OF_DAY) {
        return format!("{days}days");
    }
    humantime::format_duration(duration).to_string()
}

/// The number of bytes in the largest unit that divides it.
pub(crate) fn show_size(bytes: usize) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

/// The type of a value with its article.
pub(crate) fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
