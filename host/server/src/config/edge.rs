//! Where the host meets its clients, beside its main address: `[tls]`, `[admin]`, `[cors]`, and the proxies of `[server]`.
//! Whether certificate and key fit is for whoever serves with them to say: it needs a cryptographic library.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::environment::Environment;
use super::host::parse_listen;
use super::problem::Place;
use super::report::Report;
use super::section::{Found, Section};
use super::types::{Admin, Cors, PemFile, Tls};
use super::values::{Form, Wrong};

pub(super) const CORS_ORIGINS: &str = "CORS_ORIGINS";

/// `[tls]`: both files, or none.
pub(super) fn tls(mut section: Section<'_, '_>, beside: &Path) -> Option<Tls> {
    let mut file = |key, example| {
        let path =
            section.read(key, Form { what: "a path", example }, |value| match value.get_ref().as_str() {
                Some("") => Err(Wrong::Form),
                Some(path) => Ok(beside.join(path)),
                None => Err(Wrong::Type),
            });
        path.map(|found: Found<PathBuf>| PemFile {
            place: section.report.place(&found.span),
            path: found.value,
        })
    };
    let certificate = file("certificate", "\"/etc/masque/tls.crt\"");
    let key = file("key", "\"/etc/masque/tls.key\"");
    for (is, needs, example) in
        [("certificate", "key", "\"/etc/masque/tls.key\""), ("key", "certificate", "\"/etc/masque/tls.crt\"")]
    {
        if section.has(is) {
            section.require(needs, Form { what: "a path", example });
        }
    }
    section.finish();
    Some(Tls { certificate: certificate?, key: key? })
}

/// `[admin]`, and where its address stands.
pub(super) fn admin(mut section: Section<'_, '_>) -> (Admin, Option<Found<SocketAddr>>) {
    let form = Form { what: "an address with a port", example: "\"127.0.0.1:9000\"" };
    let listen = section.read("listen", form, |value| {
        let text = value.get_ref().as_str().ok_or(Wrong::Type)?;
        parse_listen(text).ok_or(Wrong::Form)
    });
    let shared = section.flag("shared", false);
    section.finish();
    (Admin { listen: listen.as_ref().map(|found| found.value), shared }, listen)
}

/// `trusted_proxies` in `[server]`.
pub(super) fn trusted_proxies(section: &mut Section<'_, '_>) -> Vec<IpNet> {
    let form = Form { what: "a list of networks", example: "[\"10.0.0.0/8\"]" };
    let found = section.list("trusted_proxies", form, |text| network(text).ok_or(Wrong::Form));
    found.map(|found| found.value.into_iter().map(|item| item.value).collect()).unwrap_or_default()
}

/// A network, or an address as the network of itself. IPv4 written as IPv6 is IPv4, as it is where clients are compared.
fn network(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical().into());
    }
    let network = text.parse::<IpNet>().ok()?;
    let mapped = network.addr().to_canonical();
    match (network, mapped) {
        (IpNet::V6(network), IpAddr::V4(address)) => {
            IpNet::new(address.into(), network.prefix_len().checked_sub(96)?).ok()
        }
        _ => Some(network.trunc()),
    }
}

/// Origins whose pages may call the host: of the variable where it is set, else of `[cors]`.
///
/// Without authentication every page that may call is the host's one user, so then there can be none.
pub(super) fn cors(
    mut section: Section<'_, '_>,
    environment: &Environment,
    authentication_required: bool,
) -> Cors {
    let report = section.report;
    let form = Form { what: "a list of origins", example: "[\"https://app.example.com\"]" };
    let in_file = section
        .list("origins", form, |text| origin(text).map_err(|what| Wrong::Other(what, REMEDY.to_owned())));
    section.finish();
    let in_file = in_file.map(|found| {
        let origins = found.value.into_iter().map(|item| item.value).collect();
        (collected(origins), report.place(&found.span))
    });
    let (cors, place) = match environment.get(CORS_ORIGINS) {
        Some(text) => (by_variable(text, report), Place::Variable(CORS_ORIGINS.to_owned())),
        None => match in_file {
            Some(found) => found,
            None => return Cors::Nobody,
        },
    };
    if !authentication_required && cors != Cors::Nobody {
        report.error(
            place,
            "while authentication is off, pages of other origins are refused",
            "Unset it, and serve the page and the host from one origin.",
        );
    }
    cors
}

const REMEDY: &str = "Write origins as browsers send them, such as `https://app.example.com` or `http://localhost:3000`, or `*` for all.";

fn by_variable(text: &str, report: &Report<'_>) -> Cors {
    let mut origins = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match origin(item) {
            Ok(origin) => origins.push(origin),
            Err(what) => report.error(Place::Variable(CORS_ORIGINS.to_owned()), what, REMEDY),
        }
    }
    collected(origins)
}

fn collected(origins: Vec<String>) -> Cors {
    if origins.iter().any(|origin| origin == "*") {
        Cors::Anyone
    } else if origins.is_empty() {
        Cors::Nobody
    } else {
        Cors::Origins(origins)
    }
}

/// An origin as browsers write it (RFC 6454, section 6.2): in lower case, without the scheme's own port. Or what is wrong.
fn origin(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("\"{}\" is no origin: {why}", text.escape_debug()));
    if text == "*" {
        return Ok(text.to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let Some((scheme, rest)) = lower.split_once("://") else { return wrong("it has no scheme") };
    let default_port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return wrong("its scheme is neither https nor http"),
    };
    if rest.contains(['/', '?', '#']) {
        return wrong("an origin has no path");
    }
    if rest.contains('@') {
        return wrong("an origin names no user");
    }
    let (host, port) = match rest.rfind(':') {
        Some(colon) if !rest.ends_with(']') => {
            let (host, port) = rest.split_at(colon);
            (host, Some(port.trim_start_matches(':')))
        }
        _ => (rest, None),
    };
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let known = match literal {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        None => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            !host.is_empty() && host.bytes().all(allowed)
        }
    };
    if !known {
        return wrong("its host is no name and no address");
    }
    match port.map(str::parse::<u16>) {
        None => Ok(lower),
        Some(Ok(port)) if port == default_port => Ok(format!("{scheme}://{host}")),
        Some(Ok(port)) if port > 0 => Ok(format!("{scheme}://{host}:{port}")),
        Some(_) => wrong("its port is no number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_as_browsers_write_them() {
        for (text, written) in [
            ("*", "*"),
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://app.example.com:443", "http://app.example.com:443"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[::1]", "http://[::1]"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(written), "{text}");
        }
        for text in [
            "",
            "app.example.com",
            "localhost:3000",
            "ftp://app.example.com",
            "null",
            "https://",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://app.example.com?x",
            "https://me:secret@app.example.com",
            "https://*.example.com",
            "https://app.example.com:0",
            "https://app.example.com:70000",
            "https://app.example.com:",
            "https://[::1",
            "https://::1",
            "https://app .example.com",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_is_in_the_form_that_clients_are_compared_in() {
        for (text, written) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("::1", "::1/128"),
            ("fd00::/8", "fd00::/8"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
        ] {
            assert_eq!(network(text).map(|network| network.to_string()).as_deref(), Some(written), "{text}");
        }
        for text in ["", "10.0.0.0/33", "proxy.internal", "10.0.0", "::ffff:10.0.0.0/8"] {
            assert_eq!(network(text), None, "{text}");
        }
    }
}
