//! The closed lists of codes and limits. What plugins and upstreams say is in none of them.

use wasmtime_wasi_http::Error;

/// The outcome of a call that succeeded.
pub(crate) const OK: &str = "ok";

/// The codes of the contract, as `wit/0.1.0/types.wit` lists them, and those of the host.
pub(super) const CODES: [&str; 15] = [
    "cancelled",
    "conflict",
    "context-length",
    "denied",
    "filtered",
    "internal",
    "invalid",
    "not-found",
    "overloaded",
    "rate-limited",
    "stalled",
    "timeout",
    "truncated",
    "unauthorized",
    "unavailable",
];

/// Limits of a call by their names in the configuration. `stack` has no setting.
pub(super) const LIMITS: [&str; 19] = [
    "cpu",
    "delta_bytes",
    "handles",
    "header_bytes",
    "host_memory",
    "hostcall_bytes",
    "log_bytes",
    "log_lines",
    "memory",
    "questions",
    "requests",
    "resources",
    "scratch",
    "stack",
    "state",
    "state_write_bytes",
    "state_writes",
    "table_elements",
    "wall",
];

/// The code of a failure. As the contract says, a code that is not in the list counts as `internal`.
pub(crate) fn known_code(code: &str) -> &'static str {
    CODES.into_iter().find(|known| *known == code).unwrap_or("internal")
}

/// The limit that a refusal of the host names, as in `(limit NAME)` with the name in backticks.
pub(crate) fn limit_named_in(refusal: &str) -> Option<&'static str> {
    let (_, named) = refusal.rsplit_once("(limit `")?;
    let (name, _) = named.split_once('`')?;
    LIMITS.into_iter().find(|known| *known == name)
}

/// The code of a request that has no answer, or not all of it.
pub(crate) fn request_error_code(error: &Error) -> &'static str {
    match error {
        Error::HttpRequestDenied | Error::DestinationIpProhibited => "denied",
        Error::ConnectionTimeout
        | Error::ConnectionReadTimeout
        | Error::ConnectionWriteTimeout
        | Error::HttpResponseTimeout
        | Error::DnsTimeout => "timeout",
        Error::ConnectionLimitReached => "overloaded",
        Error::HttpRequestMethodInvalid | Error::HttpRequestUriInvalid => "invalid",
        Error::DnsError { .. }
        | Error::DestinationNotFound
        | Error::DestinationUnavailable
        | Error::DestinationIpUnroutable
        | Error::ConnectionRefused => "unavailable",
        Error::TlsProtocolError | Error::TlsCertificateError | Error::TlsAlertReceived { .. } => "tls",
        Error::HttpResponseIncomplete => "truncated",
        Error::ConnectionTerminated => "terminated",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_a_plugin_invents_counts_as_internal() {
        for (code, known) in
            [("rate-limited", "rate-limited"), ("Rate-Limited", "internal"), ("", "internal")]
        {
            assert_eq!(known_code(code), known);
        }
    }

    #[test]
    fn the_limit_of_a_refusal_is_the_last_one_that_it_names() {
        for (refusal, limit) in [
            ("more than 8 questions in one call (limit `questions`)", Some("questions")),
            ("took longer than 5 ms (limit `wall` or the turn's deadline)", Some("wall")),
            ("a (limit `cpu`) b (limit `state`)", Some("state")),
            ("more than 3 apples (limit `apples`)", None),
            ("more than 8 lists of files at once", None),
            ("(limit `cpu", None),
        ] {
            assert_eq!(limit_named_in(refusal), limit, "{refusal}");
        }
    }
}
