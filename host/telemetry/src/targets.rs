//! The targets that have a meaning of their own.

/// The target of refused credentials, so that an operator can collect or alert on these lines alone.
pub const AUDIT: &str = "masque::audit";

/// The target of lines about the log itself.
pub(crate) const LOG: &str = "masque::log";

/// The target of panics.
pub(crate) const PANIC: &str = "masque::panic";

/// The target of lines that plugins write.
pub(crate) const PLUGIN: &str = "plugin";
