//! What protects a host without authentication.
//!
//! The threat is a web page in a browser on the same machine. It can send requests to a loopback address, and after DNS
//! rebinding (the page's own name now resolves to 127.0.0.1) it can also read the answers. The policy: the name in
//! `Host` has to be a loopback name, which a rebound page can't send; a page of another origin is refused by its
//! `Origin`, which browsers add to every cross-origin request that can change something; a body has to be
//! `application/json`, which a form can't send and a script only after a preflight, which is never granted. A request
//! that came through a proxy may come from anywhere, so it is refused too.
//!
//! Accepted: every program on the same machine, of any user, may do everything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, Uri, header, uri::Authority};
use masque_grants::port_of;
use masque_http::is_json;
use masque_problem::{Kind, Problem};

/// Headers that proxies add.
const FORWARDING_HEADERS: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// Checks the head of a request. HTTP/2 carries the host in `uri`, as does HTTP/1.1 towards a proxy; if both `uri` and
/// `Host` name one, both have to be loopback names.
///
/// # Errors
/// [`Kind::HostNotAllowed`], [`Kind::OriginNotAllowed`] or [`Kind::UnsupportedMediaType`].
pub fn check(uri: &Uri, headers: &HeaderMap, has_body: bool) -> Result<(), Problem> {
    if let Some(header) = FORWARDING_HEADERS.into_iter().find(|header| headers.contains_key(*header)) {
        let detail = format!(
            "The request came through a proxy (`{header}`), and without authentication the host serves its own machine \
             alone: set JWT_SECRET_KEY."
        );
        return Err(Problem::new(Kind::HostNotAllowed, detail));
    }
    let host = loopback_host(uri, headers)?;
    if let Some(origin) = headers.get(header::ORIGIN) {
        let is_same = origin.to_str().is_ok_and(|origin| is_same_origin(origin, &host));
        if !is_same || headers.get_all(header::ORIGIN).iter().count() > 1 {
            return Err(Kind::OriginNotAllowed.into());
        }
    }
    if has_body && !is_json(headers) {
        return Err(Kind::UnsupportedMediaType.into());
    }
    Ok(())
}

fn loopback_host(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Problem> {
    let mut names = headers.get_all(header::HOST).iter();
    let header = match (names.next(), names.next()) {
        (_, Some(_)) => {
            return Err(Problem::new(Kind::HostNotAllowed, "Send one `Host` header, not several."));
        }
        (Some(host), None) => Some(host.to_str().ok().and_then(|host| host.parse::<Authority>().ok())),
        (None, None) => None,
    };
    let chosen = match (uri.authority(), header) {
        (Some(authority), None) => authority.clone(),
        (None, Some(Some(host))) => host,
        (Some(authority), Some(Some(host))) if is_loopback(&host) => authority.clone(),
        _ => return Err(Kind::HostNotAllowed.into()),
    };
    if is_loopback(&chosen) { Ok(chosen) } else { Err(Kind::HostNotAllowed.into()) }
}

fn is_loopback(authority: &Authority) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(literal) => literal.parse().is_ok_and(|ip: Ipv6Addr| IpAddr::V6(ip).is_loopback()),
        // Other spellings of an IPv4 address, such as `127.1` and `2130706433`, are refused.
        None => host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback()),
    }
}

/// Compares host and port (RFC 6454, section 5). Both schemes are accepted: this host speaks plain HTTP here, and a
/// proxy before it may add TLS. A port that is no number is that of no origin.
fn is_same_origin(origin: &str, host: &Authority) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let default_port = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    let port = |authority: &Authority| port_of(authority, default_port);
    uri.authority().is_some_and(|page| {
        page.host().eq_ignore_ascii_case(host.host())
            && port(page).is_some_and(|page_port| port(host) == Some(page_port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(uri: &str, headers: &[(&str, &str)], has_body: bool) -> Option<Kind> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        check(&uri.parse().unwrap(), &map, has_body).err().map(|problem| problem.kind)
    }

    #[test]
    fn a_host_that_is_no_loopback_name_is_refused() {
        let allowed = [
            "localhost",
            "localhost:8000",
            "LocalHost:1",
            "127.0.0.1",
            "127.0.0.1:8000",
            "127.255.1.2:80",
            "[::1]",
            "[::1]:8000",
        ];
        for host in allowed {
            assert_eq!(refusal("/chat", &[("host", host)], false), None, "{host}");
        }
        let refused = [
            "example.com",
            "localhost.example.com",
            "localhost.",
            "127.0.0.1.nip.io",
            "128.0.0.1",
            "0.0.0.0",
            "127.1",
            "2130706433",
            "192.168.1.2:8000",
            "[::2]",
            "[::ffff:127.0.0.1]",
            "::1",
            "user@localhost",
            "localhost:8000, example.com",
            "",
        ];
        for host in refused {
            assert_eq!(refusal("/chat", &[("host", host)], false), Some(Kind::HostNotAllowed), "{host}");
        }
    }

    #[test]
    fn a_request_without_a_host_is_refused() {
        assert_eq!(refusal("/chat", &[], false), Some(Kind::HostNotAllowed));
    }

    #[test]
    fn two_hosts_are_refused() {
        let headers = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(refusal("/chat", &headers, false), Some(Kind::HostNotAllowed));
    }

    #[test]
    fn the_authority_of_http_2_is_checked_like_a_host() {
        assert_eq!(refusal("http://localhost:8000/chat", &[], false), None);
        assert_eq!(refusal("http://example.com/chat", &[], false), Some(Kind::HostNotAllowed));
        let both = [("host", "localhost")];
        assert_eq!(refusal("http://example.com/chat", &both, false), Some(Kind::HostNotAllowed));
        let both = [("host", "example.com")];
        assert_eq!(refusal("http://localhost/chat", &both, false), Some(Kind::HostNotAllowed));
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let cases = [
            ("localhost:8000", "http://localhost:8000", true),
            ("localhost:8000", "https://localhost:8000", true),
            ("localhost", "http://localhost:80", true),
            ("[::1]:8000", "http://[::1]:8000", true),
            ("localhost:8000", "http://localhost:3000", false),
            ("localhost:8000", "http://127.0.0.1:8000", false),
            ("localhost:8000", "http://localhost", false),
            ("localhost", "http://localhost:99999", false),
            ("localhost:99999", "http://localhost", false),
            ("localhost:99999", "http://localhost:99999", false),
            ("localhost:8000", "https://example.com", false),
            ("localhost:8000", "http://localhost:8000.example.com", false),
            ("localhost:8000", "null", false),
            ("localhost:8000", "file://", false),
            ("localhost:8000", "", false),
        ];
        for (host, origin, allowed) in cases {
            let expected = if allowed { None } else { Some(Kind::OriginNotAllowed) };
            assert_eq!(
                refusal("/chat", &[("host", host), ("origin", origin)], false),
                expected,
                "{host} {origin}"
            );
        }
    }

    #[test]
    fn a_body_that_a_form_could_send_is_refused() {
        let cases = [
            (None, false),
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("text/plain"), false),
            (Some("application/x-www-form-urlencoded"), false),
            (Some("multipart/form-data; boundary=application/json"), false),
            (Some("application/jsonp"), false),
        ];
        for (content_type, allowed) in cases {
            let mut headers = vec![("host", "localhost")];
            headers.extend(content_type.map(|value| ("content-type", value)));
            let expected = if allowed { None } else { Some(Kind::UnsupportedMediaType) };
            assert_eq!(refusal("/chat", &headers, true), expected, "{content_type:?}");
            assert_eq!(refusal("/chat", &headers, false), None, "{content_type:?} without a body");
        }
    }
}
