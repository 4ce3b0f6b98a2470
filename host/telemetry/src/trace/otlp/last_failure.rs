//! Why the collector was not reached, for the log.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a TLS library calls a certificate of an authority that is not trusted, the second where a trusted one has its name.
const UNTRUSTED: [&str; 2] = ["UnknownIssuer", "BadSignature"];

/// Why the last request to a collector had no answer. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct LastFailure(Arc<Mutex<Option<String>>>);

impl LastFailure {
    /// The request had no answer. Errors of connections name neither a path nor a query nor headers.
    pub(super) fn note(&self, error: &(dyn Error + 'static)) {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let cause = error.to_string();
            // Some errors repeat what caused them.
            if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
            source = error.source();
        }
        *self.lock() = Some(text);
    }

    /// The collector has answered.
    pub(super) fn clear(&self) {
        *self.lock() = None;
    }

    /// Says why a batch was not sent, with what is known of the connection and what to do about it.
    pub(super) fn explain(&self, error: &dyn Error) -> String {
        let mut text = error.to_string();
        if let Some(failure) = &*self.lock() {
            text = format!("{text}: {failure}");
        }
        if UNTRUSTED.iter().any(|untrusted| text.contains(untrusted)) {
            text.push_str(
                "; the collector's certificate is from an authority that is not trusted: name the authority's certificate in \
                 OTEL_EXPORTER_OTLP_CERTIFICATE",
            );
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
