//! How a single value is written: durations, sizes, numbers, words. Pure: what is wrong is returned, and where it stands
//! is known to the caller.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

/// What a value ought to be, for the sentence that says it is not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) what: &'static str,
    /// As it would stand in the file.
    pub(super) example: &'static str,
}

pub(super) const DURATION: Form = Form { what: "a duration", example: "\"10s\"" };
pub(super) const SIZE: Form = Form { what: "a size", example: "\"64KiB\"" };
pub(super) const COUNT: Form = Form { what: "a whole number", example: "16" };
pub(super) const FLAG: Form = Form { what: "true or false", example: "true" };

/// Why a value can't be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Of another type.
    Type,
    /// Of the right type, but not in this form.
    Form,
    /// Outside what is allowed, which is named.
    Range(String),
    /// Anything that needs its own words: what is wrong, and the remedy.
    Other(String, String),
}

pub(super) fn flag(value: &DeValue<'_>) -> Result<bool, Wrong> {
    value.as_bool().ok_or(Wrong::Type)
}

pub(super) fn duration(value: &DeValue<'_>, allowed: &RangeInclusive<Duration>) -> Result<Duration, Wrong> {
    let text = value.as_str().ok_or(Wrong::Type)?;
    let duration = humantime::parse_duration(text).map_err(|_| Wrong::Form)?;
    within(duration, allowed, show_duration)
}

/// Bytes, as a whole number or with a unit.
pub(super) fn size(value: &DeValue<'_>, allowed: &RangeInclusive<usize>) -> Result<usize, Wrong> {
    let bytes = match value {
        DeValue::Integer(_) => integer(value)?,
        DeValue::String(text) => {
            let size: bytesize::ByteSize = text.parse().map_err(|_| Wrong::Form)?;
            size.as_u64().into()
        }
        _ => return Err(Wrong::Type),
    };
    // A negative size is as wrong as one of 0 bytes, which no bound allows.
    within(usize::try_from(bytes.max(0)).unwrap_or(usize::MAX), allowed, show_size)
}

pub(super) fn count(value: &DeValue<'_>, allowed: &RangeInclusive<u64>) -> Result<u64, Wrong> {
    let allowed = i128::from(*allowed.start())..=i128::from(*allowed.end());
    let number = within(integer(value)?, &allowed, |number| number.to_string())?;
    u64::try_from(number).map_err(|_| Wrong::Form)
}

fn integer(value: &DeValue<'_>) -> Result<i128, Wrong> {
    let integer = value.as_integer().ok_or(Wrong::Type)?;
    // One with more digits than that is outside every bound.
    Ok(i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX))
}

fn within<T: PartialOrd + Copy>(
    value: T,
    allowed: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, Wrong> {
    if allowed.contains(&value) {
        Ok(value)
    } else {
        Err(Wrong::Range(format!("from {} to {}", show(*allowed.start()), show(*allowed.end()))))
    }
}

pub(super) fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// In the largest unit that divides it.
pub(super) fn show_size(bytes: usize) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

/// A value's type, with its article.
pub(super) fn type_of(value: &DeValue<'_>) -> &'static str {
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
