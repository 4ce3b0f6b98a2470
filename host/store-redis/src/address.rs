//! Reads the URL of Redis. `url` alone can't: it knows one host per URL.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::Host;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Which servers there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    /// One server.
    Server(Node),
    /// The sentinels that know the server, and what they call it.
    Sentinel { sentinels: Vec<Node>, service: String, credentials: Credentials },
    /// Some nodes of a cluster.
    Cluster(Vec<Node>),
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// Who connects.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) topology: Topology,
    pub(crate) credentials: Credentials,
    pub(crate) database: i64,
    pub(crate) is_tls: bool,
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it. No part that may have the password is quoted.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
        let (kind, is_tls) = read_scheme(scheme)?;
        if rest.contains('#') {
            return Err("it has a part behind `#`; certificates are always checked".into());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user_info, hosts) =
            authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
        let credentials = user_info.map(read_user_info).transpose()?.unwrap_or_default();
        let nodes = |port| hosts.split(',').map(|host| read_node(host, port)).collect::<Result<Vec<_>, _>>();
        let path = path.trim_end_matches('/');
        if kind != Kind::Sentinel && !query.is_empty() {
            return Err("it has parameters behind `?`, and there are none to set".into());
        }
        let (topology, database) = match kind {
            Kind::Server => {
                let [node] = <[Node; 1]>::try_from(nodes(REDIS_PORT)?).map_err(
                    |_| "it has several hosts, which are for redis+sentinel:// and redis+cluster://",
                )?;
                (Topology::Server(node), read_database(path)?)
            }
            Kind::Cluster => {
                if read_database(path)? != 0 {
                    return Err("a cluster has only the database 0".into());
                }
                (Topology::Cluster(nodes(REDIS_PORT)?), 0)
            }
            Kind::Sentinel => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                let service = decode(service, "the name of the service")?;
                if service.is_empty() {
                    return Err("it does not name the service behind the hosts, as in /mymaster".into());
                }
                let credentials = read_sentinel_parameters(query)?;
                let sentinels = nodes(SENTINEL_PORT)?;
                (Topology::Sentinel { sentinels, service, credentials }, read_database(database)?)
            }
        };
        Ok(Self { topology, credentials, database, is_tls })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Server,
    Sentinel,
    Cluster,
}

fn read_scheme(scheme: &str) -> Result<(Kind, bool), String> {
    let (base, kind) = match scheme.split_once('+') {
        None => (scheme, Kind::Server),
        Some((base, "sentinel")) => (base, Kind::Sentinel),
        Some((base, "cluster")) => (base, Kind::Cluster),
        Some(_) => return Err(unknown_scheme(scheme)),
    };
    match base {
        "redis" | "valkey" => Ok((kind, false)),
        "rediss" | "valkeys" => Ok((kind, true)),
        _ => Err(unknown_scheme(scheme)),
    }
}

/// A text before `://` that looks like no scheme may be anything, and is not shown.
fn unknown_scheme(scheme: &str) -> String {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if scheme.chars().all(is_scheme) && scheme.len() <= 32 {
        format!("its scheme is `{scheme}`")
    } else {
        "its scheme is unknown".into()
    }
}

fn read_user_info(text: &str) -> Result<Credentials, String> {
    let (user, password) =
        text.split_once(':').map_or((text, None), |(user, password)| (user, Some(password)));
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Credentials {
        user: some(decode(user, "the user")?),
        password: password.map(|password| decode(password, "the password")).transpose()?.and_then(some),
    })
}

fn read_sentinel_parameters(query: &str) -> Result<Credentials, String> {
    let mut credentials = Credentials::default();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("sentinel_user", user)) => credentials.user = Some(decode(user, "sentinel_user")?),
            Some(("sentinel_password", password)) => {
                credentials.password = Some(decode(password, "sentinel_password")?);
            }
            _ => return Err("behind `?` only sentinel_user=… and sentinel_password=… can stand".into()),
        }
    }
    Ok(credentials)
}

fn read_node(text: &str, default_port: u16) -> Result<Node, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if host.is_empty() {
        return Err("it names no host".into());
    }
    let port = match port {
        None => default_port,
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => port,
            // A password with `/` or `@` in it makes another part look like the port.
            _ => {
                return Err(
                    "a port is no number from 1 to 65535 (write / and @ in a password as %2F and %40)".into(),
                );
            }
        },
    };
    let host = match Host::parse(host).map_err(|_| "a host is neither a name nor an address")? {
        Host::Domain(name) => name,
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    if matches!(host.as_str(), "0.0.0.0" | "::") {
        return Err("no server has the address 0.0.0.0 or [::]".into());
    }
    Ok(Node { host, port })
}

fn read_database(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    number.map(i64::from).ok_or_else(|| "the database behind the host is no number from 0 to 65535".into())
}

fn decode(text: &str, part: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| format!("{part} is not UTF-8"))?;
    if decoded.contains('\0') {
        return Err(format!("{part} has a character U+0000"));
    }
    Ok(decoded.into_owned())
}
