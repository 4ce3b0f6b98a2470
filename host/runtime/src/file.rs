//! Tells the format of a file by its first bytes, before a parser reads it.

/// The format that a file has by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// A component.
    Component,
    /// A core module.
    Module,
    /// Not WebAssembly.
    Other,
}

impl FileFormat {
    /// The first eight bytes tell a component from a core module (component model, binary format).
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Self::Component,
            [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Self::Module,
            _ => Self::Other,
        }
    }
}
