//! Reads a JWK Set (RFC 7517) of an identity provider: the keys in it that can verify a token here, and why each of the
//! others can't. Pure.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::algorithms::parse_algorithm;
use super::key_material;

/// The most keys of one set.
const MAX_KEYS: usize = 100;
/// The longest `kid` that is repeated in the log, in characters.
const MAX_NAME_CHARS: usize = 64;
/// Members that only private and symmetric keys have. Whoever reads such a published key could sign tokens with it.
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];

/// What a set holds.
pub(super) struct KeySet {
    /// The keys that can be used with one of the allowed algorithms.
    pub(super) usable: Vec<PublicKey>,
    /// The others. RFC 7517, section 5 asks to ignore them.
    pub(super) unusable: Vec<UnusableKey>,
}

/// A public key, and the algorithms that it may be used with.
#[derive(Clone)]
pub(super) struct PublicKey {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) verifying: DecodingKey,
}

/// A key that no token can be verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnusableKey {
    /// Its `kid`, or its place in the set.
    pub(super) name: String,
    pub(super) reason: Reason,
}

/// Why a key can't be used. The text completes a sentence that begins with the name of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It is a key for something else, which many sets have.
    OtherUse(&'static str),
    /// It may be meant for tokens, and is broken or not supported.
    Defect(&'static str),
}

impl PublicKey {
    /// Whether a token with this `kid` and algorithm may be signed with the key. A token without `kid` may be signed
    /// with any key for its algorithm.
    pub(super) fn fits(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm) && (kid.is_none() || self.kid.as_deref() == kid)
    }
}

/// Reads the set. The error completes a sentence that begins with the name of the source and "is".
pub(super) fn parse(text: &[u8], allowed: &[Algorithm]) -> Result<KeySet, String> {
    // Some editors and servers put a byte order mark in front.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let set: Value = serde_json::from_slice(text).map_err(|error| format!("no JSON: {error}"))?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or("no JWK Set: it has no list `keys`")?;
    if keys.len() > MAX_KEYS {
        return Err(format!("more than {MAX_KEYS} keys"));
    }
    let mut set = KeySet { usable: Vec::new(), unusable: Vec::new() };
    for (index, value) in keys.iter().enumerate() {
        match public_key(value, allowed) {
            Ok(key) => set.usable.push(key),
            Err(reason) => set.unusable.push(UnusableKey { name: name_of(value, index), reason }),
        }
    }
    Ok(set)
}

/// The `kid` of a key without characters that could forge a line of the log, or else its place in the set.
fn name_of(value: &Value, index: usize) -> String {
    match value.get("kid").and_then(Value::as_str) {
        Some(kid) => {
            let kid: String = kid.chars().take(MAX_NAME_CHARS).collect();
            format!("`{}`", kid.escape_debug())
        }
        None => format!("number {} without `kid`", index + 1),
    }
}

fn public_key(value: &Value, allowed: &[Algorithm]) -> Result<PublicKey, Reason> {
    let text = |member: &str| value.get(member).and_then(Value::as_str);
    let required = |member: &str| text(member).ok_or(Reason::Defect("lacks a part of its public key"));
    if PRIVATE.iter().any(|member| value.get(member).is_some_and(|part| !part.is_null())) {
        return Err(Reason::Defect("is published with a secret part, so anyone could sign with it"));
    }
    if text("use").is_some_and(|purpose| purpose != "sig") {
        return Err(Reason::OtherUse("is not for signatures, by its `use`"));
    }
    let operations = value.get("key_ops").and_then(Value::as_array);
    if operations.is_some_and(|list| !list.iter().any(|operation| operation == "verify")) {
        return Err(Reason::OtherUse("is not for verifying, by its `key_ops`"));
    }
    let family: &[Algorithm] = match (required("kty")?, text("crv")) {
        ("RSA", _) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        ("EC", Some("P-256")) => &[Algorithm::ES256],
        ("EC", Some("P-384")) => &[Algorithm::ES384],
        ("OKP", Some("Ed25519")) => &[Algorithm::EdDSA],
        _ => return Err(Reason::Defect("is of a type or on a curve that this host does not use")),
    };
    let algorithms: Vec<Algorithm> = match text("alg") {
        Some(name) => match parse_algorithm(name).filter(|named| family.contains(named)) {
            Some(named) => vec![named],
            None => {
                return Err(Reason::OtherUse("is for an algorithm, by its `alg`, that signs no tokens here"));
            }
        },
        None => family.to_vec(),
    };
    let algorithms: Vec<_> = algorithms.into_iter().filter(|algorithm| allowed.contains(algorithm)).collect();
    if algorithms.is_empty() {
        return Err(Reason::OtherUse("is for none of the `algorithms` that the configuration allows"));
    }
    let verifying = match family {
        [Algorithm::ES256] => key_material::elliptic(required("x")?, required("y")?, 32),
        [Algorithm::ES384] => key_material::elliptic(required("x")?, required("y")?, 48),
        [Algorithm::EdDSA] => key_material::ed25519(required("x")?),
        _ => key_material::rsa(required("n")?, required("e")?),
    };
    Ok(PublicKey {
        kid: text("kid").map(str::to_owned),
        algorithms,
        verifying: verifying.map_err(Reason::Defect)?,
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use serde_json::json;

    use super::*;

    fn ed25519() -> Value {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let point = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": point })
    }

    fn set_of(keys: &[Value], allowed: &[Algorithm]) -> KeySet {
        parse(json!({ "keys": keys }).to_string().as_bytes(), allowed).unwrap()
    }

    fn usable_keys(change: impl FnOnce(&mut Value)) -> usize {
        let mut jwk = ed25519();
        change(&mut jwk);
        set_of(&[jwk], &[Algorithm::EdDSA]).usable.len()
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
    fn ed25519_names_the_algorithm_of_a_key_as_eddsa_does() {
        assert_eq!(usable_keys(|key| key["alg"] = json!("EdDSA")), 1);
        assert_eq!(usable_keys(|key| key["alg"] = json!("Ed25519")), 1);
        assert_eq!(usable_keys(|key| key["alg"] = json!("Ed448")), 0);
    }

    #[test]
    fn a_member_that_is_null_is_absent() {
        for member in ["use", "key_ops", "alg", "d", "k"] {
            assert_eq!(usable_keys(|key| key[member] = Value::Null), 1, "{member}");
        }
    }

    #[test]
    fn an_rsa_key_is_used_in_every_spelling_of_its_modulus() {
        let bytes = [[0].as_slice(), &[0xfb; 256]].concat();
        for n in [
            URL_SAFE_NO_PAD.encode(&bytes[1..]),
            URL_SAFE_NO_PAD.encode(&bytes),
            STANDARD.encode(&bytes[1..]),
        ] {
            for e in ["AQAB", "AQAB=", "AAEAAQ", "AAEAAQ=="] {
                let key = json!({ "kty": "RSA", "kid": "a", "n": n, "e": e });
                assert_eq!(set_of(&[key], &[Algorithm::RS256]).usable.len(), 1, "{e} {n}");
            }
        }
    }

    #[test]
    fn every_key_that_is_not_used_is_named_with_the_reason() {
        let weak = json!({ "kty": "RSA", "kid": "weak", "n": "AQID", "e": "AQAB" });
        let partial = json!({ "kty": "RSA", "kid": "partial", "n": "AQID" });
        let broken = json!({ "kty": "EC", "crv": "P-256", "kid": "a\nb", "x": "%", "y": "AQ" });
        let other = json!({ "kty": "RSA", "kid": "other", "use": "enc" });
        let keys =
            [weak, partial, broken, other, json!({ "kty": "EC", "crv": "P-521" }), json!(null), ed25519()];
        let set = set_of(&keys, &[Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]);
        assert_eq!(set.usable.len(), 1);
        let names: Vec<_> = set.unusable.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(
            names,
            ["`weak`", "`partial`", "`a\\nb`", "`other`", "number 5 without `kid`", "number 6 without `kid`"]
        );
        let is_defect = |key: &UnusableKey| matches!(key.reason, Reason::Defect(_));
        assert_eq!(set.unusable.iter().filter(|key| is_defect(key)).count(), 5);
        assert_eq!(set.unusable[0].reason, Reason::Defect("has less than 2048 bits"));
    }

    #[test]
    fn a_set_is_json_with_a_list_of_at_most_100_keys() {
        for text in ["", "{}", "[]", r#"{"keys": {}}"#] {
            assert!(parse(text.as_bytes(), &[Algorithm::RS256]).is_err(), "{text}");
        }
        assert!(parse("\u{feff}{\"keys\": []}".as_bytes(), &[]).is_ok());
        let many = json!({ "keys": vec![json!({}); MAX_KEYS + 1] });
        assert!(parse(many.to_string().as_bytes(), &[Algorithm::RS256]).is_err());
    }
}
