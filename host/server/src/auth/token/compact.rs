//! A token taken apart: JWS Compact Serialization (RFC 7515, section 3.1), and nothing beside it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::refused::Refused;
use crate::strict::Strict;

/// Several times what providers send, and far below what headers may have.
const LONGEST: usize = 8 * 1024;
/// Of a key's id, and of a type.
const LONGEST_NAME: usize = 255;

/// Members that would change how the rest is read, or bring a key along (RFC 7515, sections 4.1.2 to 4.1.6 and 4.1.11;
/// RFC 7797; RFC 7516). A key that comes with the token proves nothing about who made it.
const FORBIDDEN: [&str; 9] = ["crit", "b64", "jku", "jwk", "x5u", "x5c", "zip", "enc", "cty"];

/// Its parts, decoded. Nothing in them has been proven.
pub(super) struct Compact<'t> {
    pub(super) algorithm: String,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    pub(super) payload: Map<String, Value>,
    /// What is signed.
    pub(super) message: &'t str,
    pub(super) signature: &'t str,
}

impl<'t> Compact<'t> {
    pub(super) fn parse(token: &'t str) -> Result<Self, Refused> {
        if token.len() > LONGEST {
            return Err(Refused::TooLarge);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(Refused::Malformed)?;
        if payload.contains('.') {
            return Err(Refused::Malformed);
        }
        // Unpadded, without other characters, and with no bits to spare: each token has one spelling.
        URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refused::Malformed)?;
        let header = object(header)?;
        let payload = object(payload)?;
        if FORBIDDEN.iter().any(|member| header.contains_key(*member)) {
            return Err(Refused::Header);
        }
        let algorithm = name(&header, "alg")?.ok_or(Refused::Malformed)?;
        Ok(Self {
            algorithm,
            kid: name(&header, "kid")?,
            typ: name(&header, "typ")?,
            payload,
            message,
            signature,
        })
    }
}

/// An object in which no member comes twice, at any depth (RFC 8725, section 2.4 warns of parsers that differ).
fn object(part: &str) -> Result<Map<String, Value>, Refused> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed)?;
    match serde_json::from_slice::<Strict>(&bytes) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        Ok(_) | Err(_) => Err(Refused::Malformed),
    }
}

fn name(header: &Map<String, Value>, member: &str) -> Result<Option<String>, Refused> {
    match header.get(member) {
        None => Ok(None),
        Some(Value::String(name)) if name.len() <= LONGEST_NAME => Ok(Some(name.clone())),
        Some(_) => Err(Refused::Malformed),
    }
}
