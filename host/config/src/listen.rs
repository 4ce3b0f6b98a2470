//! Addresses to listen on. Without authentication every caller acts as the one user of the host, so the host then listens
//! on loopback addresses only.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Serialize, Serializer};

use crate::diagnostic::Location;
use crate::environment::{self, Environment};
use crate::flags::Flags;
use crate::report::Report;
use crate::section::Located;

pub(crate) const DEFAULT_LISTEN: ListenAddress =
    ListenAddress::One(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000));

/// What a listener listens on. Displayed and serialized as it is written in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// One address.
    One(SocketAddr),
    /// `localhost` with this port: both loopback addresses, since clients differ in which they try first. Otherwise another
    /// program could answer on the one that is left.
    Localhost(u16),
}

impl ListenAddress {
    /// Parses an address with a port. The only host name is `localhost`, since it needs no resolver.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.rsplit_once(':') {
            Some((name, port)) if name.eq_ignore_ascii_case("localhost") => {
                port.parse().ok().map(Self::Localhost)
            }
            _ => text.parse().ok().map(Self::One),
        }
    }

    /// The port; 0 lets the system choose one.
    pub fn port(self) -> u16 {
        match self {
            Self::One(address) => address.port(),
            Self::Localhost(port) => port,
        }
    }

    /// Whether only this machine reaches it.
    fn is_loopback(self) -> bool {
        match self {
            Self::One(address) => address.ip().to_canonical().is_loopback(),
            Self::Localhost(_) => true,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(formatter),
            Self::Localhost(port) => write!(formatter, "localhost:{port}"),
        }
    }
}

impl Serialize for ListenAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The address of the flag, else of the variable, else of the file, else the default. Reports an invalid address, and one
/// that other machines reach although authentication is off.
pub(crate) fn public_address(
    flags: &Flags,
    environment: &Environment,
    in_file: Option<Located<ListenAddress>>,
    authentication_required: bool,
    report: &Report<'_>,
) -> ListenAddress {
    let parse = |text: &str, location: Location| match ListenAddress::parse(text) {
        Some(address) => Some((address, location)),
        None => {
            let what = format!("\"{}\" is not an address with a port", text.escape_debug());
            report.error(location, what, "Write for example `127.0.0.1:8000`.");
            None
        }
    };
    let by_flag = flags.listen.as_deref().map(|text| parse(text, Location::Flag("--listen")));
    let variable = environment.get(environment::LISTEN);
    let by_variable = variable.map(|text| parse(text, Location::Variable(environment::LISTEN.to_owned())));
    let in_file = in_file.map(|found| Some((found.value, report.location(&found.span))));
    match by_flag.or(by_variable).or(in_file).flatten() {
        None => DEFAULT_LISTEN,
        Some((address, location)) => {
            refuse_open_address(address, location, authentication_required, report);
            address
        }
    }
}

/// Reports an address that is not loopback, unless callers must authenticate.
pub(crate) fn refuse_open_address(
    address: ListenAddress,
    location: Location,
    authentication_required: bool,
    report: &Report<'_>,
) {
    if !authentication_required && !address.is_loopback() {
        report.error(
            location,
            format!("{address} is reached from other machines, and authentication is off"),
            "Listen on 127.0.0.1 or [::1], or turn authentication on: set JWT_SECRET_KEY, or [auth.issuers.NAME].",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_both_loopback_addresses_and_an_address_is_itself() {
        for text in ["localhost:8000", "LocalHost:8000"] {
            assert_eq!(ListenAddress::parse(text), Some(ListenAddress::Localhost(8000)), "{text}");
        }
        for text in ["127.0.0.1:8000", "[::1]:8000", "0.0.0.0:80"] {
            let parsed = ListenAddress::parse(text).unwrap();
            assert_eq!(parsed, ListenAddress::One(text.parse().unwrap()));
            assert_eq!(parsed.to_string(), text);
        }
        for text in ["", "localhost", "localhost:", "localhost:70000", "example.com:80", ":8000", "8000"] {
            assert_eq!(ListenAddress::parse(text), None, "{text}");
        }
        assert!(ListenAddress::Localhost(1).is_loopback());
        assert!(!ListenAddress::parse("0.0.0.0:80").unwrap().is_loopback());
    }
}
