//! `[server]`: the public listener, and what one client may send.

use std::net::IpAddr;
use std::time::Duration;

use masque_grants::IpNet;
use serde::{Serialize, Serializer};

use crate::listen::{DEFAULT_LISTEN, ListenAddress};
use crate::section::{Located, Section, items};
use crate::units::{HOUR, KIB, MIB, MILLISECOND, SECOND};
use crate::value::{self, Expected, InvalidValue};

/// The public listener, and what one client may send.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// What to listen on.
    pub listen: ListenAddress,
    /// The longest message of a user, in bytes.
    pub max_message_bytes: usize,
    /// The longest body of any request, in bytes.
    pub max_body_bytes: usize,
    /// How long the host waits for the whole head of a request.
    pub header_timeout: Duration,
    /// How long the host waits for the whole body of a request.
    pub body_timeout: Duration,
    /// How long a client may leave sent data unread.
    pub write_timeout: Duration,
    /// Connections at the same time.
    pub max_connections: usize,
    /// The longest path with its query, in bytes.
    pub max_url_bytes: usize,
    /// The proxies that are trusted to name the address of a client.
    #[serde(serialize_with = "as_text")]
    pub trusted_proxies: Vec<IpNet>,
}

fn as_text<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(networks.iter().map(ToString::to_string))
}

/// Reads the section. The address is returned separately, because a variable or a flag may override it; `listen` of the
/// result holds the default.
pub(crate) fn read(mut section: Section<'_, '_>) -> (Server, Option<Located<ListenAddress>>) {
    let expected = Expected { what: "an address with a port", example: "\"127.0.0.1:8000\"" };
    let listen = section.read("listen", expected, |value| {
        ListenAddress::parse(value::text(value)?).ok_or(InvalidValue::Form)
    });
    section.defaults("listen", || DEFAULT_LISTEN.to_string());
    let max_message = section.size("max_message_bytes", 64 * KIB, 1..=16 * MIB);
    let max_body = section.size("max_body_bytes", MIB, KIB..=64 * MIB);
    if max_message.value > max_body.value {
        section.report.error_at(
            &max_message.span,
            format!(
                "a message of {} does not fit into a body of {}",
                value::show_size(max_message.value),
                value::show_size(max_body.value)
            ),
            "Raise max_body_bytes above max_message_bytes.",
        );
    }
    let server = Server {
        listen: DEFAULT_LISTEN,
        max_message_bytes: max_message.value,
        max_body_bytes: max_body.value,
        header_timeout: section.duration("header_timeout", 10 * SECOND, 100 * MILLISECOND..=HOUR),
        body_timeout: section.duration("body_timeout", 30 * SECOND, 100 * MILLISECOND..=HOUR),
        write_timeout: section.duration("write_timeout", 30 * SECOND, 100 * MILLISECOND..=HOUR),
        max_connections: section.length("max_connections", 4096, 1..=1_000_000),
        max_url_bytes: section.size("max_url_bytes", 8 * KIB, 256..=32 * KIB).value,
        trusted_proxies: trusted_proxies(&mut section),
    };
    section.finish();
    (server, listen)
}

fn trusted_proxies(section: &mut Section<'_, '_>) -> Vec<IpNet> {
    let expected = Expected { what: "a list of networks", example: "[\"10.0.0.0/8\"]" };
    items(section.list("trusted_proxies", expected, |text| network(text).ok_or(InvalidValue::Form)))
}

/// A network, or an address as a network of one. An IPv4 address that is written as IPv6 becomes IPv4, the form in which
/// the addresses of clients are compared.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_form_in_which_clients_are_compared() {
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
