//! Reads the headers that credentials come in: `Authorization`, `On-Behalf-Of` and `On-Behalf-Of-Issuer`.

use http::{HeaderMap, header};
use masque_problem::{Kind, Problem};

use crate::owner::is_subject;

const ON_BEHALF_OF: &str = "on-behalf-of";
const ON_BEHALF_OF_ISSUER: &str = "on-behalf-of-issuer";

/// The user that a request with an API key speaks for, as its headers name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnBehalfOf<'h> {
    subject: &'h str,
    /// `None` for the host's own issuer.
    pub(crate) issuer: Option<&'h str>,
}

impl<'h> OnBehalfOf<'h> {
    /// Reads the two headers; `None` if neither was sent.
    pub(crate) fn from_headers(headers: &'h HeaderMap) -> Result<Option<Self>, Problem> {
        let subject = single_value(headers, ON_BEHALF_OF)?;
        let issuer = single_value(headers, ON_BEHALF_OF_ISSUER)?;
        match (subject, issuer) {
            (Some(subject), issuer) => Ok(Some(Self { subject, issuer })),
            (None, Some(_)) => {
                Err(invalid_header(ON_BEHALF_OF_ISSUER, "Send it together with `On-Behalf-Of`."))
            }
            (None, None) => Ok(None),
        }
    }

    /// The user's id.
    ///
    /// # Errors
    /// [`Kind::InvalidRequest`] if it does not have the form of one.
    pub(crate) fn subject(&self) -> Result<&'h str, Problem> {
        if is_subject(self.subject) {
            return Ok(self.subject);
        }
        let detail = "It is a user's id: 1 to 255 characters, none of them a control.";
        Err(invalid_header(ON_BEHALF_OF, detail))
    }

    /// The problem of an issuer that this host does not trust.
    pub(crate) fn untrusted_issuer() -> Problem {
        invalid_header(ON_BEHALF_OF_ISSUER, "It is one of the issuers that this host trusts.")
    }
}

/// The token or API key after `Bearer` (RFC 6750, section 2.1); `None` if there is no `Authorization` header.
///
/// # Errors
/// [`Kind::Unauthenticated`] if the header comes several times, has another scheme, or names no credential.
pub fn bearer_credential(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let refuse = |detail| Err(Problem::new(Kind::Unauthenticated, detail));
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return refuse("Send one `Authorization` header, not several."),
    };
    let scheme_and_credential = value.to_str().ok().and_then(|value| value.split_once(' '));
    match scheme_and_credential {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => {
            let credential = credential.trim_matches(' ');
            if credential.is_empty() { refuse("No token follows `Bearer`.") } else { Ok(Some(credential)) }
        }
        _ => refuse("Write `Authorization: Bearer` and then the token or API key."),
    }
}

fn single_value<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| invalid_header(name, "It is visible ASCII characters."))
        }
        (Some(_), Some(_)) => Err(invalid_header(name, "Send it once.")),
    }
}

fn invalid_header(field: &str, detail: &str) -> Problem {
    Problem::new(Kind::InvalidRequest, format!("`{field}`: {detail}")).with("field", field)
}
