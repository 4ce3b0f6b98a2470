//! Why a host is not healthy: a closed list, so that a probe that anyone may send says nothing of addresses, errors or users.

use masque_companions::Active;
use masque_http::{Lifecycle, Phase};
use masque_store::SharedStatus;
use serde_json::{Value, json};

/// One cause. `docs/operators.md` holds the same table for readers; a test compares the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HealthCause {
    Loading,
    Draining,
    ActiveSetBlocked,
    ConfigurationRefused,
    StoreUnavailable,
    SandboxBusy,
    RedisUnavailable,
}

impl HealthCause {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 7] = [
        Self::Loading,
        Self::Draining,
        Self::ActiveSetBlocked,
        Self::ConfigurationRefused,
        Self::StoreUnavailable,
        Self::SandboxBusy,
        Self::RedisUnavailable,
    ];

    /// The check that it is about, and the state that the check then has.
    pub(crate) fn check_and_state(self) -> (&'static str, &'static str) {
        match self {
            Self::Loading => ("phase", "loading"),
            Self::Draining => ("phase", "draining"),
            Self::ActiveSetBlocked => ("active_set", "blocked"),
            Self::ConfigurationRefused => ("configuration", "refused"),
            Self::StoreUnavailable => ("store", "unavailable"),
            Self::SandboxBusy => ("sandbox", "busy"),
            Self::RedisUnavailable => ("redis", "unavailable"),
        }
    }

    /// The state of the check.
    pub(crate) fn state(self) -> &'static str {
        self.check_and_state().1
    }

    /// Whether `/readyz` answers 503 because of it. What would take all hosts out of service at once is no such cause.
    #[cfg(test)]
    pub(crate) fn is_unready(self) -> bool {
        matches!(self, Self::Loading | Self::Draining | Self::ActiveSetBlocked)
    }

    /// What it means, and what to do.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Loading => "The host starts: it opens the store and loads the plugins.",
            Self::Draining => {
                "The host was told to stop, or a part of it has failed. Running turns end; new requests belong to other hosts."
            }
            Self::ActiveSetBlocked => {
                "The host can't use the companions and plugins that the other hosts have, and tries again. `/status` and the log say why."
            }
            Self::ConfigurationRefused => {
                "The changed configuration or component was refused; the one before is in effect. `/status` and the log say why."
            }
            Self::StoreUnavailable => {
                "The database can't be read, or the last write failed. Turns get 503 until it is back."
            }
            Self::SandboxBusy => {
                "Every instance of the sandbox is in use at this moment. If it stays so, the host is too small for its load."
            }
            Self::RedisUnavailable => {
                "Redis does not answer. Each host counts rate limits alone, and streams can't be followed from other hosts."
            }
        }
    }

    /// For `?verbose`.
    pub(crate) fn to_value(self) -> Value {
        let (check, state) = self.check_and_state();
        json!({ "check": check, "state": state, "meaning": self.meaning() })
    }

    pub(crate) fn of_phase(lifecycle: &Lifecycle) -> Option<Self> {
        match lifecycle.now() {
            Phase::Loading => Some(Self::Loading),
            Phase::Draining => Some(Self::Draining),
            Phase::Ready => None,
        }
    }

    pub(crate) fn of_active_set(active: &Active) -> Option<Self> {
        active.obstacle().is_some().then_some(Self::ActiveSetBlocked)
    }

    pub(crate) fn of_configuration(active: &Active) -> Option<Self> {
        active.is_last_reload_refused().then_some(Self::ConfigurationRefused)
    }

    pub(crate) fn of_shared(status: &SharedStatus) -> Option<Self> {
        matches!(status, SharedStatus::Unavailable { .. }).then_some(Self::RedisUnavailable)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn the_guide_lists_every_cause_with_its_meaning() {
        let mut table = String::from("| check | state | `/readyz` | meaning |\n| --- | --- | --- | --- |\n");
        for cause in HealthCause::ALL {
            let (check, state) = cause.check_and_state();
            let ready = if cause.is_unready() { "503" } else { "200" };
            // Writing to a string cannot fail.
            let _ = writeln!(table, "| `{check}` | `{state}` | {ready} | {} |", cause.meaning());
        }
        let guide = include_str!("../../../docs/operators.md");
        assert!(guide.contains(&table), "docs/operators.md should hold this table:\n\n{table}");
    }
}
