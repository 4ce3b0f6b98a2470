//! What a file is by its first bytes, before anything reads further.

/// Larger than any component seen, Python's 40 MB included.
pub const LARGEST_COMPONENT: usize = 64 << 20;

/// What a file claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A component.
    Component,
    /// A core module.
    Module,
    /// Nothing of WebAssembly.
    Other,
}

impl Form {
    /// The first eight bytes tell a component from a core module (component model, binary format).
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Self::Component,
            [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Self::Module,
            _ => Self::Other,
        }
    }
}
