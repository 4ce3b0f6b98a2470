//! Which plugin, version and function a call is of. Errors and log lines name it.

use std::sync::Arc;

use crate::diagnostics::CallDiagnostics;
use crate::error::{CallError, Cause};
use crate::profile::PluginProfile;

/// The identity of one call, with what the host noticed during it.
pub(super) struct CallIdentity {
    pub(super) plugin: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) function: &'static str,
    pub(super) diagnostics: CallDiagnostics,
}

impl CallIdentity {
    pub(super) fn new(profile: &PluginProfile, function: &'static str, diagnostics: CallDiagnostics) -> Self {
        Self { plugin: profile.name.clone(), version: profile.version.clone(), function, diagnostics }
    }

    /// The error of this call, with its refusals.
    pub(super) fn error(&self, cause: Cause) -> CallError {
        CallError {
            plugin: self.plugin.as_ref().to_owned(),
            version: self.version.as_ref().to_owned(),
            function: self.function,
            cause,
            denied: self.diagnostics.refusals(),
            missing_grants: self.diagnostics.missing_grants(),
            error_output: Vec::new(),
        }
    }
}

/// An error of a call that did not begin, or whose diagnostics are lost.
pub(crate) fn call_error(profile: &PluginProfile, function: &'static str, cause: Cause) -> CallError {
    CallIdentity::new(profile, function, CallDiagnostics::default()).error(cause)
}
