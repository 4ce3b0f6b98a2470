//! What a plugin asked for during a call without the grant for it.

use std::fmt;

use http::Method;
use masque_grants::{Grants, Origin};

use crate::http_method::method_name;

/// An operation that was refused because a grant is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissingGrant {
    /// State of the conversation or the user.
    State,
    /// State that all users share.
    StateShared,
    /// Earlier messages of the conversation.
    History,
    /// A call of the companion's model.
    Models,
    /// An HTTP request.
    Http {
        /// The method of the request.
        method: Method,
        /// Where the request was to go.
        origin: Origin,
        /// The path, without the query.
        path: String,
    },
}

impl MissingGrant {
    /// Whether `grants` allow the operation.
    pub fn is_in(&self, grants: &Grants) -> bool {
        match self {
            Self::State => grants.state,
            Self::StateShared => grants.state && grants.state_shared,
            Self::History => grants.history,
            Self::Models => grants.models,
            Self::Http { method, origin, path } => {
                grants.http.iter().any(|grant| grant.allows(method, origin, path))
            }
        }
    }

    /// The key of the grant in the configuration.
    pub fn key(&self) -> &'static str {
        match self {
            Self::State => "state",
            Self::StateShared => "state_shared",
            Self::History => "history",
            Self::Models => "models",
            Self::Http { .. } => "http",
        }
    }
}

impl fmt::Display for MissingGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Without the path, which may hold what a user wrote: this text is in the log.
            Self::Http { method, origin, .. } => {
                let method = method_name(method).unwrap_or("another method");
                write!(f, "{method} {origin} needs an `http` grant for this path")
            }
            _ => write!(f, "the grant `{}` is missing", self.key()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_refused_request_has_nothing_that_a_plugin_could_hide_words_in_but_its_origin() {
        let refused = |method: &str| MissingGrant::Http {
            method: method.parse().unwrap(),
            origin: "https://a.test".parse().unwrap(),
            path: "/users/Marzipan".into(),
        };
        for (method, named) in
            [("POST", "POST https://a.test needs"), ("MARZIPAN", "another method https://a.test needs")]
        {
            let text = refused(method).to_string();
            assert!(text.starts_with(named) && !text.to_lowercase().contains("marzipan"), "{text}");
        }
    }

    #[test]
    fn a_request_is_granted_by_its_origin_method_and_path() {
        let request = MissingGrant::Http {
            method: Method::POST,
            origin: "https://a.test".parse().unwrap(),
            path: "/v1/chat".into(),
        };
        for (grant, expected) in [
            ("https://a.test", true),
            ("POST https://a.test/v1", true),
            ("https://b.test", false),
            ("GET https://a.test", false),
            ("https://a.test/v2", false),
        ] {
            let grants = Grants { http: vec![grant.parse().unwrap()], ..Grants::default() };
            assert_eq!(request.is_in(&grants), expected, "{grant}");
        }
    }
}
