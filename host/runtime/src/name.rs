//! The form of every name in Masque: of companions, plugins and credentials, and of what a plugin calls itself.

/// `[a-z0-9-]{1,64}`.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
