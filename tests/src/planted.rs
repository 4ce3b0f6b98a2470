//! Texts that a test plants, and a search for them in whatever a host writes, however they are written there.

use std::ops::Range;

use crate::identity::base64url;

/// How much of a text is searched for: the log and the records cut what is long.
const SEARCHED: usize = 24;

/// A shorter text occurs by chance.
const MIN_LENGTH: usize = 12;

/// How often a text is decoded before the search: JSON is often in JSON.
const DEPTH: usize = 3;

/// A text that a test plants in one place.
#[derive(Clone, Debug)]
pub struct Planted {
    /// What it is.
    pub name: &'static str,
    text: String,
}

impl Planted {
    /// Panics if the text is too short to be searched for.
    pub fn new(name: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        assert!(text.len() >= MIN_LENGTH, "{name}: {text:?} is too short");
        Self { name, text }
    }

    /// A random text with characters that URLs and JSON write in another way.
    pub fn random(name: &'static str) -> Self {
        Self::new(name, format!("{}/+={}", random_digits(), random_digits()))
    }

    /// These words, and random ones.
    pub fn phrase(name: &'static str, words: &str) -> Self {
        Self::new(name, format!("{words} {}", random_digits()))
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text as a part of a URL.
    pub fn percent_encoded(&self) -> String {
        percent_encoded(&self.text)
    }

    /// Returns in which form the bytes hold the text, or enough of it to give it away.
    pub fn form_in(&self, bytes: &[u8]) -> Option<&'static str> {
        self.form_in_decoded(&Decoded::new(bytes))
    }

    fn form_in_decoded(&self, bytes: &Decoded) -> Option<&'static str> {
        let text = &self.text[..self.text.floor_char_boundary(SEARCHED)];
        if holds(&bytes.plain, text) {
            return Some("plain");
        }
        if bytes.decoded.iter().any(|decoded| holds(decoded, text)) {
            return Some("percent-encoded or escaped for JSON");
        }
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        if holds(&bytes.lower, &hex) {
            return Some("hexadecimal");
        }
        let is_base64 = base64_forms(text).iter().any(|form| {
            let standard = form.replace('-', "+").replace('_', "/");
            let mut texts = bytes.decoded.iter().chain([&bytes.plain]);
            texts.any(|text| holds(text, form) || holds(text, &standard))
        });
        is_base64.then_some("base64")
    }
}

/// Bytes, and what they mean after one decoding after the other.
struct Decoded {
    plain: String,
    lower: String,
    decoded: Vec<String>,
}

impl Decoded {
    fn new(bytes: &[u8]) -> Self {
        let mut decoded = Vec::new();
        let mut last = bytes.to_vec();
        for _ in 0..DEPTH {
            last = percent_decoded(&json_decoded(&last));
            decoded.push(String::from_utf8_lossy(&last).into_owned());
        }
        let plain = String::from_utf8_lossy(bytes).into_owned();
        Self { lower: plain.to_ascii_lowercase(), plain, decoded }
    }
}

/// Whether the text holds the other one. The crate is compiled with optimizations in test builds, the same search of `str` is not.
fn holds(text: &str, part: &str) -> bool {
    memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some()
}

/// Panics with the name, the place and the surroundings if one of the places holds one of the texts.
pub fn assert_in_none(planted: &[Planted], places: &[(String, Vec<u8>)]) {
    let mut found = Vec::new();
    for (place, bytes) in places {
        let decoded = Decoded::new(bytes);
        for text in planted {
            if let Some(form) = text.form_in_decoded(&decoded) {
                found.push(format!("{} is in {place}, {form}{}", text.name, surroundings(text, bytes)));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The random digits of a UUID, without those of the time.
fn random_digits() -> String {
    let digits = uuid::Uuid::now_v7().simple().to_string();
    digits[16..].to_owned()
}

/// The line around the first place where the text is as it is.
fn surroundings(text: &Planted, bytes: &[u8]) -> String {
    let written = String::from_utf8_lossy(bytes);
    let line = written.lines().find(|line| text.form_in(line.as_bytes()).is_some());
    line.map_or_else(String::new, |line| format!(": {}", line.chars().take(2000).collect::<String>()))
}

fn percent_encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    decoded(bytes, b'%', |rest| {
        let byte = u8::try_from(hex_number(rest, 1..3)?).ok()?;
        Some((vec![byte], 3))
    })
}

/// The bytes with the escapes of JSON strings read. Other escapes stay as they are.
fn json_decoded(bytes: &[u8]) -> Vec<u8> {
    decoded(bytes, b'\\', |rest| {
        let plain = match rest.get(1)? {
            b'u' => {
                let character = hex_number(rest, 2..6).and_then(char::from_u32)?;
                return Some((character.to_string().into_bytes(), 6));
            }
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            quoted @ (b'"' | b'\\' | b'/') => *quoted,
            _ => return None,
        };
        Some((vec![plain], 2))
    })
}

/// The bytes with what begins with `mark` replaced by what `meant` returns, and the length that this takes. Host logs have tens of
/// megabytes, so what is between two marks is copied as a whole.
fn decoded(bytes: &[u8], mark: u8, meant: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(mark, rest) {
        decoded.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (plain, length) = meant(rest).unwrap_or_else(|| (vec![mark], 1));
        decoded.extend_from_slice(&plain);
        rest = &rest[length..];
    }
    decoded.extend_from_slice(rest);
    decoded
}

fn hex_number(bytes: &[u8], digits: Range<usize>) -> Option<u32> {
    let digits = std::str::from_utf8(bytes.get(digits)?).ok()?;
    // `from_str_radix` takes a sign.
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

/// The digits that stand for the text in a longer text in base64url: three bytes are four digits, so they depend on how many
/// bytes are before it. Digits that also stand for a part of what is around it are left out.
fn base64_forms(text: &str) -> [String; 3] {
    [0, 1, 2].map(|before: usize| {
        let digits = base64url([&vec![0; before], text.as_bytes()].concat());
        let first = (before * 8).div_ceil(6);
        let last = (before + text.len()) * 8 / 6;
        digits[first..last].to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "abc\"/+ é=0123456789-secret";

    fn form_in(text: &str) -> Option<&'static str> {
        Planted::new("a secret", SECRET).form_in(text.as_bytes())
    }

    fn base64(text: &str) -> String {
        base64url(text).replace('-', "+").replace('_', "/")
    }

    #[test]
    fn a_text_is_found_in_each_form() {
        let json = serde_json::Value::from(SECRET).to_string();
        let escaped: String = SECRET.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        let percent = percent_encoded(SECRET);
        let forms = [
            ("plain", SECRET.to_owned(), "plain"),
            ("cut", SECRET.chars().take(24).collect(), "plain"),
            ("JSON", json.clone(), "percent-encoded or escaped for JSON"),
            ("slashes", json.replace('/', "\\/"), "percent-encoded or escaped for JSON"),
            (
                "JSON in JSON",
                serde_json::Value::from(json.as_str()).to_string(),
                "percent-encoded or escaped for JSON",
            ),
            ("every character", escaped, "percent-encoded or escaped for JSON"),
            ("a URL", percent.clone(), "percent-encoded or escaped for JSON"),
            ("lower case", percent.to_ascii_lowercase(), "percent-encoded or escaped for JSON"),
            ("a URL twice", percent_encoded(&percent), "percent-encoded or escaped for JSON"),
            (
                "a URL in JSON",
                serde_json::Value::from(percent.as_str()).to_string(),
                "percent-encoded or escaped for JSON",
            ),
            ("hexadecimal", SECRET.bytes().map(|byte| format!("{byte:02X}")).collect(), "hexadecimal"),
            ("base64", base64(SECRET), "base64"),
            ("base64url", base64url(SECRET), "base64"),
            ("base64 behind one byte", base64(&format!("x{SECRET}y")), "base64"),
            ("base64 behind two bytes", base64(&format!("xy{SECRET}")), "base64"),
            ("base64 behind three bytes", base64(&format!("me:{SECRET} and more")), "base64"),
            ("base64 in a URL", percent_encoded(&base64(SECRET)), "base64"),
        ];
        for (name, text, form) in forms {
            let around = format!("before {text} after");
            assert_eq!(form_in(&around), Some(form), "{name}: {around}");
        }
    }

    #[test]
    fn a_text_is_not_found_where_it_is_not() {
        let other = SECRET.replace("0123", "0124");
        for text in [
            "",
            "\\",
            "%",
            "%4",
            "\\u00",
            "\\u00e",
            other.as_str(),
            &base64(&other),
            &percent_encoded(&other),
        ] {
            assert_eq!(form_in(text), None, "{text}");
        }
    }

    #[test]
    #[should_panic(expected = "a secret is in the log, plain: two abc")]
    fn the_place_of_what_is_found_is_named() {
        let planted = [Planted::new("a secret", SECRET)];
        let places = [
            ("the metrics".to_owned(), b"one\n".to_vec()),
            ("the log".to_owned(), format!("one\ntwo {SECRET}\n").into_bytes()),
        ];
        assert_in_none(&planted, &places);
    }
}
