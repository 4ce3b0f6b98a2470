//! What a key of `state` may be.

use crate::contract::Failure;

const MAX_KEY_BYTES: usize = 512;

/// Refuses a key that is empty, too long, or not a text that every store can keep.
pub(super) fn check_key(key: &str) -> Result<(), Failure> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Failure::new(
            "invalid",
            format!("a key has 1 to {MAX_KEY_BYTES} bytes, not {}", key.len()),
        ));
    }
    check_text(key)
}

/// Refuses a part of a key that not every store can keep.
pub(super) fn check_text(key: &str) -> Result<(), Failure> {
    if key.contains('\0') {
        return Err(Failure::new("invalid", "a key does not have the character U+0000"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_refused_by_its_length_and_by_what_no_store_keeps() {
        let longest = "k".repeat(MAX_KEY_BYTES);
        for (key, is_allowed) in [
            ("k", true),
            (longest.as_str(), true),
            ("", false),
            (&format!("{longest}k"), false),
            ("a\0", false),
        ] {
            assert_eq!(check_key(key).is_ok(), is_allowed, "{} bytes", key.len());
        }
    }
}
