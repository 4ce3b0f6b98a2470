//! The fixed part of a problem type.

use http::StatusCode;

/// What is the same for every occurrence of a problem type.
pub(crate) struct Definition {
    /// The fragment of the `type` URI, in kebab case.
    pub(crate) name: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    /// The condition under which the problem occurs, for the table in `docs/errors.md`.
    pub(crate) when: &'static str,
    /// What the client can do; the default of the `detail` member.
    pub(crate) advice: &'static str,
    /// The default of `Retry-After`, in seconds.
    pub(crate) retry_after: Option<u64>,
}

pub(crate) const fn define(
    name: &'static str,
    status: StatusCode,
    title: &'static str,
    when: &'static str,
    advice: &'static str,
) -> Definition {
    Definition { name, status, title, when, advice, retry_after: None }
}

impl Definition {
    pub(crate) const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}
