//! Why a grant or credential is refused.

use http::HeaderName;

/// A grant or credential that can't be read. Each message shows the right form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The text is not an origin.
    #[error("`{0}` is not an origin; write it as `https://api.example.com` or `http://127.0.0.1:11434`")]
    Origin(String),
    /// The port is missing after its colon, or is no number from 1 to 65535.
    #[error(
        "`{0}` has a port that is no number from 1 to 65535; write it as `https://api.example.com` or `http://127.0.0.1:11434`"
    )]
    Port(String),
    /// The text has a part that an origin or grant must not have.
    #[error("`{given}` has {part}, which a grant does not take; write it as `https://api.example.com/v1/`")]
    Part {
        /// The text as it was written.
        given: String,
        /// The part that is not allowed.
        part: &'static str,
    },
    /// The method is not an HTTP method in upper case.
    #[error("`{0}` is not an HTTP method; write a grant with methods as `GET,POST https://api.example.com`")]
    Method(String),
    /// The header says how the request is transferred, and the host writes it.
    #[error(
        "`{0}` says how a request is transferred, so the host writes it; name the header from which the server reads its \
         secret, such as `authorization`"
    )]
    ReservedHeader(HeaderName),
    /// A credential whose origin, header name or value is not allowed.
    #[error("credential `{name}`: {reason}")]
    Credential {
        /// The credential's name.
        name: String,
        /// What is wrong, without the value.
        reason: String,
    },
}
