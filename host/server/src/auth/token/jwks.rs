//! A JWK Set (RFC 7517) as an identity provider publishes it: the keys in it that can verify a token here. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// Keys of one set.
const MOST: usize = 100;
/// The least modulus of an RSA key, in bytes (RFC 7518, section 3.3).
const LEAST_RSA: usize = 256;
/// Members of a key that only its owner should have.
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];

/// A public key, and what it may be used for.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) kid: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) verifying: DecodingKey,
}

impl Key {
    /// Whether a token with this `kid` and algorithm may be signed with it. A token without one may be with any.
    pub(super) fn fits(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm) && (kid.is_none() || self.kid.as_deref() == kid)
    }
}

/// The keys of a set that fit one of `allowed`; others are left out, as RFC 7517, section 5 asks.
pub(super) fn parse(text: &[u8], allowed: &[Algorithm]) -> Result<Vec<Key>, String> {
    let set: Value = serde_json::from_slice(text).map_err(|error| format!("no JSON: {error}"))?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or("no JWK Set: it has no list `keys`")?;
    if keys.len() > MOST {
        return Err(format!("more than {MOST} keys"));
    }
    Ok(keys.iter().filter_map(|value| key(value, allowed)).collect())
}

fn key(value: &Value, allowed: &[Algorithm]) -> Option<Key> {
    let word = |member: &str| value.get(member).and_then(Value::as_str);
    if PRIVATE.iter().any(|member| value.get(member).is_some()) {
        tracing::warn!(kid = word("kid"), "a published key has a secret part and is not used");
        return None;
    }
    if word("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let operations = value.get("key_ops").and_then(Value::as_array);
    if operations.is_some_and(|list| !list.iter().any(|operation| operation == "verify")) {
        return None;
    }
    let family: &[Algorithm] = match (word("kty")?, word("crv")) {
        ("RSA", _) => {
            let modulus = URL_SAFE_NO_PAD.decode(word("n")?).ok()?;
            if modulus.iter().skip_while(|byte| **byte == 0).count() < LEAST_RSA {
                tracing::warn!(
                    kid = word("kid"),
                    "a published RSA key has less than 2048 bits and is not used"
                );
                return None;
            }
            &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ]
        }
        ("EC", Some("P-256")) => &[Algorithm::ES256],
        ("EC", Some("P-384")) => &[Algorithm::ES384],
        ("OKP", Some("Ed25519")) => &[Algorithm::EdDSA],
        _ => return None,
    };
    let named = word("alg");
    let fits = |algorithm: &Algorithm| named.is_none_or(|name| format!("{algorithm:?}") == name);
    let algorithms: Vec<_> =
        family.iter().copied().filter(|algorithm| allowed.contains(algorithm) && fits(algorithm)).collect();
    if algorithms.is_empty() {
        return None;
    }
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    let verifying = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { kid: word("kid").map(str::to_owned), algorithms, verifying })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ed25519() -> Value {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let point = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": point })
    }

    fn usable(change: impl FnOnce(&mut Value)) -> usize {
        let mut jwk = ed25519();
        change(&mut jwk);
        parse(json!({ "keys": [jwk] }).to_string().as_bytes(), &[Algorithm::EdDSA]).unwrap().len()
    }

    #[test]
    fn a_key_is_used_for_what_it_says_and_nothing_else() {
        assert_eq!(usable(|_| {}), 1);
        assert_eq!(usable(|key| key["use"] = json!("enc")), 0);
        assert_eq!(usable(|key| key["key_ops"] = json!(["sign"])), 0);
        assert_eq!(usable(|key| key["key_ops"] = json!(["verify"])), 1);
        assert_eq!(usable(|key| key["alg"] = json!("RS256")), 0);
        assert_eq!(usable(|key| key["crv"] = json!("X25519")), 0);
        assert_eq!(usable(|key| key["kty"] = json!("oct")), 0);
        assert_eq!(usable(|key| key["d"] = json!("AQID")), 0);
        assert_eq!(usable(|key| key["k"] = json!("AQID")), 0);
        assert_eq!(usable(|key| key["x"] = json!("%")), 0);
    }

    #[test]
    fn a_short_rsa_key_is_not_used() {
        let rsa = |bytes: usize| {
            let modulus = URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
            let set = json!({ "keys": [{ "kty": "RSA", "kid": "a", "n": modulus, "e": "AQAB" }] });
            parse(set.to_string().as_bytes(), &[Algorithm::RS256]).unwrap().len()
        };
        assert_eq!((rsa(128), rsa(255), rsa(256), rsa(512)), (0, 0, 1, 1));
    }

    #[test]
    fn a_set_is_json_with_a_list_that_is_not_too_long() {
        for text in ["", "{}", "[]", r#"{"keys": {}}"#] {
            assert!(parse(text.as_bytes(), &[Algorithm::RS256]).is_err(), "{text}");
        }
        let many = json!({ "keys": vec![json!({}); MOST + 1] });
        assert!(parse(many.to_string().as_bytes(), &[Algorithm::RS256]).is_err());
    }
}
