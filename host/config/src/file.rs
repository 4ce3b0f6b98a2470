//! Reads the files that the configuration names, up to a size. None is waited for, and a secret that every user of the machine
//! may write is refused.

pub(crate) use masque_files::{ReadError, read_bounded, read_secret};
