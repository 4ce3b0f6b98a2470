//! `[admin]`: where the admin API is served.

use serde::Serialize;

use crate::listen::ListenAddress;
use crate::section::{Located, Section};
use crate::value::{self, Expected, InvalidValue};

/// Where the admin API is served.
#[derive(Clone, Debug, Serialize)]
pub struct Admin {
    /// The address of a listener of its own. `None`: the admin API is on the public listener.
    pub listen: Option<ListenAddress>,
    /// Whether the operator allows the admin API on the public listener in production.
    pub shared: bool,
}

/// Reads the section, and where its address is.
pub(crate) fn read(mut section: Section<'_, '_>) -> (Admin, Option<Located<ListenAddress>>) {
    let expected = Expected { what: "an address with a port", example: "\"127.0.0.1:9000\"" };
    let listen = section.read("listen", expected, |value| {
        ListenAddress::parse(value::text(value)?).ok_or(InvalidValue::Form)
    });
    let shared = section.flag("shared", false);
    section.finish();
    (Admin { listen: listen.as_ref().map(|found| found.value), shared }, listen)
}
