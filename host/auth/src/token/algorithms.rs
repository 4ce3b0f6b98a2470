//! The names of algorithms in headers, keys and the configuration.

use jsonwebtoken::Algorithm;

/// The algorithm with this name. Names are compared exactly, and `none` is no name. `Ed25519` is the name of RFC 9864,
/// section 2.2 for `EdDSA` with the only curve that is supported here.
pub(super) fn parse_algorithm(name: &str) -> Option<Algorithm> {
    if name == "Ed25519" { Some(Algorithm::EdDSA) } else { name.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ed25519_is_another_name_for_eddsa_and_other_spellings_name_nothing() {
        assert_eq!(parse_algorithm("Ed25519"), Some(Algorithm::EdDSA));
        assert_eq!(parse_algorithm("EdDSA"), Some(Algorithm::EdDSA));
        assert_eq!(parse_algorithm("ES384"), Some(Algorithm::ES384));
        for name in ["none", "None", "", "ed25519", "Ed448", "EDDSA", "RS256 ", "rs256"] {
            assert_eq!(parse_algorithm(name), None, "{name:?}");
        }
    }
}
