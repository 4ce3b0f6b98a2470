//! Reads a JWK Set (RFC 7517) of an identity provider: the keys in it that can verify a token here. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

/// The most keys of one set.
const MAX_KEYS: usize = 100;
/// The shortest modulus of an RSA key that is accepted, in bytes (RFC 7518, section 3.3).
const MIN_RSA_BYTES: usize = 256;
/// Members that only private and symmetric keys have. Whoever reads such a published key could sign tokens with it.
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];

/// A public key, and the algorithms that it may be used with.
#[derive(Clone)]
pub(super) struct PublicKey {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) verifying: DecodingKey,
}

impl PublicKey {
    /// Whether a token with this `kid` and algorithm may be signed with the key. A token without `kid` may be signed
    /// with any key for its algorithm.
    pub(super) fn fits(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm) && (kid.is_none() || self.kid.as_deref() == kid)
    }
}

/// The keys of a set that can be used with one of the `allowed` algorithms; others are ignored, as RFC 7517, section 5
/// asks. The error completes a sentence that begins with the name of the source and "is".
pub(super) fn parse(text: &[u8], allowed: &[Algorithm]) -> Result<Vec<PublicKey>, String> {
    let set: Value = serde_json::from_slice(text).map_err(|error| format!("no JSON: {error}"))?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or("no JWK Set: it has no list `keys`")?;
    if keys.len() > MAX_KEYS {
        return Err(format!("more than {MAX_KEYS} keys"));
    }
    Ok(keys.iter().filter_map(|value| public_key(value, allowed)).collect())
}

fn public_key(value: &Value, allowed: &[Algorithm]) -> Option<PublicKey> {
    let text = |member: &str| value.get(member).and_then(Value::as_str);
    if PRIVATE.iter().any(|member| value.get(member).is_some()) {
        tracing::warn!(kid = text("kid"), "a published key has a secret part and is not used");
        return None;
    }
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let operations = value.get("key_ops").and_then(Value::as_array);
    if operations.is_some_and(|list| !list.iter().any(|operation| operation == "verify")) {
        return None;
    }
    let family: &[Algorithm] = match (text("kty")?, text("crv")) {
        ("RSA", _) => {
            let modulus = URL_SAFE_NO_PAD.decode(text("n")?).ok()?;
            if modulus.iter().skip_while(|byte| **byte == 0).count() < MIN_RSA_BYTES {
                tracing::warn!(
                    kid = text("kid"),
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
    let named = text("alg");
    let fits = |algorithm: &Algorithm| named.is_none_or(|name| format!("{algorithm:?}") == name);
    let algorithms: Vec<_> =
        family.iter().copied().filter(|algorithm| allowed.contains(algorithm) && fits(algorithm)).collect();
    if algorithms.is_empty() {
        return None;
    }
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    let verifying = DecodingKey::from_jwk(&jwk).ok()?;
    Some(PublicKey { kid: text("kid").map(str::to_owned), algorithms, verifying })
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

    fn usable_keys(change: impl FnOnce(&mut Value)) -> usize {
        let mut jwk = ed25519();
        change(&mut jwk);
        parse(json!({ "keys": [jwk] }).to_string().as_bytes(), &[Algorithm::EdDSA]).unwrap().len()
    }

    #[test]
    fn a_key_is_used_only_for_what_it_declares() {
        assert_eq!(usable_keys(|_| {}), 1);
        assert_eq!(usable_keys(|key| key["use"] = json!("enc")), 0);
        assert_eq!(usable_keys(|key| key["key_ops"] = json!(["sign"])), 0);
        assert_eq!(usable_keys(|key| key["key_ops"] = json!(["verify"])), 1);
        assert_eq!(usable_keys(|key| key["alg"] = json!("RS256")), 0);
        assert_eq!(usable_keys(|key| key["crv"] = json!("X25519")), 0);
        assert_eq!(usable_keys(|key| key["kty"] = json!("oct")), 0);
        assert_eq!(usable_keys(|key| key["d"] = json!("AQID")), 0);
        assert_eq!(usable_keys(|key| key["k"] = json!("AQID")), 0);
        assert_eq!(usable_keys(|key| key["x"] = json!("%")), 0);
    }

    #[test]
    fn an_rsa_key_below_2048_bits_is_not_used() {
        let rsa = |bytes: usize| {
            let modulus = URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
            let set = json!({ "keys": [{ "kty": "RSA", "kid": "a", "n": modulus, "e": "AQAB" }] });
            parse(set.to_string().as_bytes(), &[Algorithm::RS256]).unwrap().len()
        };
        assert_eq!((rsa(128), rsa(255), rsa(256), rsa(512)), (0, 0, 1, 1));
    }

    #[test]
    fn a_set_is_json_with_a_list_of_at_most_100_keys() {
        for text in ["", "{}", "[]", r#"{"keys": {}}"#] {
            assert!(parse(text.as_bytes(), &[Algorithm::RS256]).is_err(), "{text}");
        }
        let many = json!({ "keys": vec![json!({}); MAX_KEYS + 1] });
        assert!(parse(many.to_string().as_bytes(), &[Algorithm::RS256]).is_err());
    }
}
