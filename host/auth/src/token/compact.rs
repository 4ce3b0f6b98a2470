//! Takes a token apart: JWS Compact Serialization (RFC 7515, section 3.1) and no other form. Checks no signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use masque_http::StrictJson;
use serde_json::{Map, Value};

use super::rejection::TokenRejection;

/// The longest token: several times what providers send, and far below what headers may hold.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest `alg`, `kid` and `typ`.
const MAX_NAME_BYTES: usize = 255;

/// Header members that change how the rest is read (RFC 7515, section 4.1.11; RFC 7797; RFC 7516). Other members that this
/// host does not use are ignored, as RFC 7515, section 4 asks. Among them are those that bring a key along (`jku`, `jwk`,
/// `x5u`, `x5c`), which some providers always write: a key that comes with the token does not prove who made it, so it is
/// neither fetched nor looked at.
const FORBIDDEN: [&str; 4] = ["crit", "b64", "zip", "enc"];

/// The decoded parts of a token. None of them is proven.
pub(super) struct CompactToken<'t> {
    pub(super) algorithm: String,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    pub(super) payload: Map<String, Value>,
    /// The part that is signed: header, full stop, payload, as they were sent.
    pub(super) message: &'t str,
    /// In base64url, as it was sent.
    pub(super) signature: &'t str,
}

impl<'t> CompactToken<'t> {
    pub(super) fn parse(token: &'t str) -> Result<Self, TokenRejection> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRejection::TooLarge);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenRejection::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenRejection::Malformed)?;
        if payload.contains('.') {
            return Err(TokenRejection::Malformed);
        }
        // The decoder refuses padding, other characters and leftover bits, so that each token has only one spelling.
        URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenRejection::Malformed)?;
        let header = decode_object(header)?;
        let payload = decode_object(payload)?;
        if FORBIDDEN.iter().any(|member| header.contains_key(*member)) {
            return Err(TokenRejection::Header);
        }
        let algorithm = short_text(&header, "alg")?.ok_or(TokenRejection::Malformed)?;
        Ok(Self {
            algorithm,
            kid: short_text(&header, "kid")?,
            typ: short_text(&header, "typ")?,
            payload,
            message,
            signature,
        })
    }
}

/// A JSON object in which no member comes twice, at any depth: RFC 8725, section 2.4 warns of parsers that differ.
fn decode_object(part: &str) -> Result<Map<String, Value>, TokenRejection> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenRejection::Malformed)?;
    match serde_json::from_slice::<StrictJson>(&bytes) {
        Ok(StrictJson(Value::Object(object))) => Ok(object),
        Ok(_) | Err(_) => Err(TokenRejection::Malformed),
    }
}

fn short_text(header: &Map<String, Value>, member: &str) -> Result<Option<String>, TokenRejection> {
    match header.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= MAX_NAME_BYTES => Ok(Some(text.clone())),
        Some(_) => Err(TokenRejection::Malformed),
    }
}
