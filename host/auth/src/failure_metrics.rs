//! Counts requests that were not authenticated or lack a scope, by a closed list of reasons.

use masque_problem::{Kind, Problem};
use masque_telemetry::metrics::http::AUTHENTICATION_FAILURES;
use serde_json::Value;

/// Counts the refusal of a request that needs a principal. What can't be judged at the moment is no failure of a client.
pub fn count_failure(problem: &Problem, has_credential: bool) {
    if let Some(reason) = reason(problem, has_credential) {
        AUTHENTICATION_FAILURES.increment(&[reason]);
    }
}

fn reason(problem: &Problem, has_credential: bool) -> Option<&'static str> {
    match problem.kind {
        Kind::Unauthenticated if !has_credential => Some("missing"),
        Kind::Unauthenticated | Kind::InvalidRequest => Some("invalid"),
        Kind::InvalidToken => match problem.members.get("reason").and_then(Value::as_str) {
            Some("expired") => Some("expired"),
            Some("revoked" | "minting-key-revoked") => Some("revoked"),
            _ => Some("invalid"),
        },
        Kind::InsufficientScope => Some("scope"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyRejection;
    use crate::rejection::CredentialRejection;
    use crate::token::TokenRejection;

    #[test]
    fn each_refusal_has_the_reason_of_its_cause() {
        let of = |rejection: CredentialRejection| Problem::from(rejection);
        for (problem, has_credential, expected) in [
            (Kind::Unauthenticated.into(), false, Some("missing")),
            (Kind::Unauthenticated.into(), true, Some("invalid")),
            (of(TokenRejection::Signature.into()), true, Some("invalid")),
            (of(TokenRejection::Expired.into()), true, Some("expired")),
            (of(KeyRejection::Unknown.into()), true, Some("invalid")),
            (of(KeyRejection::Expired.into()), true, Some("expired")),
            (of(KeyRejection::Revoked.into()), true, Some("revoked")),
            (of(CredentialRejection::RevokedToken), true, Some("revoked")),
            (of(CredentialRejection::RevokedMintingKey), true, Some("revoked")),
            (Kind::InsufficientScope.into(), true, Some("scope")),
            // The keys of the issuer, or the store, are away.
            (of(TokenRejection::KeysUnavailable.into()), true, None),
            (Kind::StorageUnavailable.into(), true, None),
        ] {
            assert_eq!(reason(&problem, has_credential), expected, "{problem:?}");
        }
    }
}
