//! Which lines the log has: the configured level, and another one for a while.
//!
//! The threat: at the lowest levels, libraries log what they send and receive, and with it what users wrote. The policy: lines
//! of Masque's own crates, none of which logs the text of a message, are let through at every level that is asked for, those of
//! other crates up to `info`. The accepted consequence: no level shows how a library sees a connection.

mod control;
mod filter;

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use crate::targets::LOG;

pub(crate) use control::LevelControl;
pub use control::LevelState;
pub use filter::InvalidLevel;
pub(crate) use filter::{LevelFilterLayer, parse};

/// The longest time for which another level than the configured one is in effect.
pub const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

static CONTROL: OnceLock<LevelControl> = OnceLock::new();

/// Makes `control` the one of this process.
pub(crate) fn install(control: LevelControl) {
    // A process has one log, so nothing is here yet.
    let _ = CONTROL.set(control);
}

/// Checks that these are directives.
///
/// # Errors
/// They are none.
pub fn check(level: &str) -> Result<(), InvalidLevel> {
    parse(level).map(drop)
}

/// What the log of this process lets through; `None` if it has none.
pub fn state() -> Option<LevelState> {
    CONTROL.get().map(LevelControl::state)
}

/// Takes over the level of a configuration that was read again. One that is set for a while stays until its end. Without a log,
/// does nothing.
///
/// # Errors
/// These are no directives; nothing is changed.
pub fn follow(configured: &str) -> Result<(), InvalidLevel> {
    if let Some(control) = CONTROL.get()
        && control.follow(configured)?
    {
        tracing::warn!(target: LOG, level = configured, "the configured log level is another one now");
    }
    Ok(())
}

/// Lets other lines through for a while, [`MAX_DURATION`] at most; then the configured level is in effect again. Whoever reads
/// the log sees both changes. Without a log, does nothing.
///
/// To be called within a tokio runtime.
///
/// # Errors
/// These are no directives; nothing is changed.
pub fn set_for(level: &str, duration: Duration) -> Result<(), InvalidLevel> {
    let duration = duration.min(MAX_DURATION);
    let Some(control) = CONTROL.get() else {
        return check(level);
    };
    let change = control.begin(level, SystemTime::now() + duration)?;
    tracing::warn!(target: LOG, level, seconds = duration.as_secs(), "another log level is in effect for a while");
    tokio::spawn(async move {
        tokio::time::sleep(duration).await;
        control.end(change);
    });
    Ok(())
}
