//! Addresses to listen on. Without authentication every caller acts as the one user of the host, so the host then listens
//! on loopback addresses only.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::diagnostic::Location;
use crate::environment::{self, Environment};
use crate::flags::Flags;
use crate::report::Report;
use crate::section::Located;

pub(crate) const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);

/// An address with a port. The only host name is `localhost`, since it needs no resolver.
pub(crate) fn parse_listen(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    }
}

/// The address of the flag, else of the variable, else of the file, else the default. Reports an invalid address, and one
/// that other machines reach although authentication is off.
pub(crate) fn public_address(
    flags: &Flags,
    environment: &Environment,
    in_file: Option<Located<SocketAddr>>,
    authentication_required: bool,
    report: &Report<'_>,
) -> SocketAddr {
    let parse = |text: &str, location: Location| match parse_listen(text) {
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
    address: SocketAddr,
    location: Location,
    authentication_required: bool,
    report: &Report<'_>,
) {
    if !authentication_required && !address.ip().to_canonical().is_loopback() {
        report.error(
            location,
            format!("{address} is reached from other machines, and authentication is off"),
            "Listen on 127.0.0.1 or [::1], or turn authentication on: set JWT_SECRET_KEY, or [auth.issuers.NAME].",
        );
    }
}
