//! The numbers of public keys, as providers write them. RFC 7518, section 6 asks for base64url without padding and for
//! numbers without leading zeros; keys in the standard alphabet, with padding or with a zero in front are in use as well,
//! and mean the same key. Pure.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{NO_PAD, URL_SAFE_NO_PAD};
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::DecodingKey;

/// The shortest modulus of an RSA key that is accepted, in bytes (RFC 7518, section 3.3).
const MIN_RSA_BYTES: usize = 256;
/// The length of an Ed25519 key (RFC 8032, section 5.1.5).
const ED25519_BYTES: usize = 32;

/// Takes bits that are left over after the last byte, which a strict decoder refuses.
const DECODER: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::with_decode_allow_trailing_bits(NO_PAD, true),
);

/// An RSA key of its modulus and exponent. The error completes a sentence that begins with the name of the key.
pub(super) fn rsa(modulus: &str, exponent: &str) -> Result<DecodingKey, &'static str> {
    let (Some(n), Some(e)) = (number(modulus), number(exponent)) else {
        return Err("has an `n` or `e` that is no base64");
    };
    if e.is_empty() {
        return Err("has an `e` of zero");
    }
    if n.len() < MIN_RSA_BYTES {
        return Err("has less than 2048 bits");
    }
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

/// A key on an elliptic curve whose coordinates have this many bytes.
pub(super) fn elliptic(x: &str, y: &str, bytes: usize) -> Result<DecodingKey, &'static str> {
    let coordinate = |text: &str| {
        let number = number(text).ok_or("has an `x` or `y` that is no base64")?;
        let missing =
            bytes.checked_sub(number.len()).ok_or("has an `x` or `y` that is too long for its curve")?;
        let mut fixed = vec![0; missing];
        fixed.extend(number);
        Ok::<_, &'static str>(URL_SAFE_NO_PAD.encode(fixed))
    };
    DecodingKey::from_ec_components(&coordinate(x)?, &coordinate(y)?).map_err(|_| "is not valid")
}

/// An Ed25519 key. Its bytes are no number, so each of them counts.
pub(super) fn ed25519(x: &str) -> Result<DecodingKey, &'static str> {
    let bytes = decode(x).ok_or("has an `x` that is no base64")?;
    if bytes.len() != ED25519_BYTES {
        return Err("has an `x` that is not 32 bytes long");
    }
    DecodingKey::from_ed_components(&URL_SAFE_NO_PAD.encode(bytes)).map_err(|_| "is not valid")
}

/// The bytes of a number without zeros in front.
fn number(text: &str) -> Option<Vec<u8>> {
    Some(decode(text)?.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// Decodes base64 of either alphabet, with or without padding. Line breaks do not count.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().filter(|character| !character.is_ascii_whitespace());
    let digits: String = digits
        .map(|character| match character {
            '+' => '-',
            '/' => '_',
            other => other,
        })
        .collect();
    DECODER.decode(digits.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_same_bytes_is_decoded() {
        for text in ["-_8", "+/8", "+/8=", "-_8=", "-_8==", " -_\r\n8\n", "-_9"] {
            assert_eq!(decode(text), Some(vec![0xfb, 0xff]), "{text:?}");
        }
        for text in ["-", "*", "-_8*", "=-_8", "é"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    #[test]
    fn zeros_in_front_do_not_change_a_number() {
        assert_eq!(number("AAEC"), Some(vec![1, 2]));
        assert_eq!(number("AQI"), Some(vec![1, 2]));
        assert_eq!(number("AAAA"), Some(vec![]));
    }

    #[test]
    fn an_rsa_key_has_2048_bits_or_more_without_its_zeros() {
        let modulus = |zeros: usize, bytes: usize| {
            let digits: Vec<u8> = [vec![0; zeros], vec![0xff; bytes]].concat();
            rsa(&URL_SAFE_NO_PAD.encode(digits), "AQAB").is_ok()
        };
        let accepted = [modulus(0, 255), modulus(1, 255), modulus(0, 256), modulus(1, 256), modulus(0, 512)];
        assert_eq!(accepted, [false, false, true, true, true]);
        assert!(rsa(&URL_SAFE_NO_PAD.encode([0xff; 256]), "AAAA").is_err());
    }

    #[test]
    fn a_coordinate_may_be_padded_or_shortened_but_not_longer_than_its_curve() {
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let whole = coordinate(&[0xff; 32]);
        for (x, fits) in [
            (coordinate(&[0xff; 32]), true),
            (coordinate(&[[0].as_slice(), &[0xff; 32]].concat()), true),
            (coordinate(&[0xff; 31]), true),
            (coordinate(&[0xff; 33]), false),
            ("%".to_owned(), false),
        ] {
            assert_eq!(elliptic(&x, &whole, 32).is_ok(), fits, "{x}");
        }
    }

    #[test]
    fn the_bytes_of_an_ed25519_key_are_counted_with_their_zeros() {
        for (bytes, fits) in [(vec![0; 32], true), (vec![0xff; 31], false), (vec![0; 33], false)] {
            assert_eq!(ed25519(&URL_SAFE_NO_PAD.encode(bytes)).is_ok(), fits);
        }
    }
}
