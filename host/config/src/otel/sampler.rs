//! `OTEL_TRACES_SAMPLER`: which traces are kept of turns that do not fail.
//!
//! A turn's trace is decided at its end, since one that failed is kept in every case. The names of the standard, which decide at
//! the beginning, keep their meaning for all other turns.

use super::variables::Variables;

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Which traces are kept of turns that do not fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceSampling {
    /// The share, from 0 to 1.
    pub ratio: f64,
    /// Whether the decision of a caller behind a trusted proxy takes precedence over the share.
    pub follows_caller: bool,
}

pub(super) fn read(variables: Variables<'_>) -> TraceSampling {
    let (ratio, follows_caller) = match variables.get(SAMPLER).map(str::trim) {
        None | Some("parentbased_always_on") => (1.0, true),
        Some("parentbased_always_off") => (0.0, true),
        Some("parentbased_traceidratio") => (ratio(variables), true),
        Some("always_on") => (1.0, false),
        Some("always_off") => (0.0, false),
        Some("traceidratio") => (ratio(variables), false),
        Some(other) => {
            let what = format!("the host has no sampler `{}`", other.escape_debug());
            let remedy =
                "It has always_on, always_off and traceidratio, each also with `parentbased_` before it.";
            variables.refuse(SAMPLER, &what, remedy);
            (1.0, true)
        }
    };
    TraceSampling { ratio, follows_caller }
}

fn ratio(variables: Variables<'_>) -> f64 {
    let Some(text) = variables.get(ARGUMENT) else { return 1.0 };
    match text.trim().parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
        _ => {
            let what = format!("`{}` is not a share from 0 to 1", text.escape_debug());
            variables.refuse(ARGUMENT, &what, "Write for example `0.1` for a tenth of all turns.");
            1.0
        }
    }
}
