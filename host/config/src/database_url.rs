//! What can be said of the URL of a database or of Redis without connecting: its scheme, whether its password is weak, and whether the
//! connection can be read on the way. Pure. Nothing here quotes the URL, which holds a password.

use std::borrow::Cow;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;

use crate::signing_key::is_guessable;

/// The shortest password that is not weak.
const MIN_PASSWORD: usize = 16;

/// The scheme without the name of a driver: `postgresql` for `postgresql+asyncpg://…`. Empty if there is none.
pub(crate) fn scheme_of(url: &str) -> &str {
    let scheme = url.trim().split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.split('+').next().unwrap_or_default()
}

/// What is wrong with the password in the URL, if anything. A URL without a user is not judged: the database then
/// identifies the user in another way.
/// `owner` is whose password it is, for the message.
pub(crate) fn weak_password(owner: &str, url: &str) -> Option<String> {
    const DEFAULTS: [&str; 12] = [
        "postgres", "redis", "valkey", "foobared", "password", "masque", "admin", "root", "secret",
        "changeme", "example", "test",
    ];
    let (login, _) = authority_of(url)?.rsplit_once('@')?;
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (user, password) = (decoded(user), decoded(password));
    if password.is_empty() {
        return Some(format!("{owner}'s user has no password"));
    }
    if DEFAULTS.contains(&password.to_ascii_lowercase().as_str()) {
        return Some(format!("{owner}'s password is a default"));
    }
    if password == user {
        return Some(format!("{owner}'s password is its user's name"));
    }
    if password.chars().count() < MIN_PASSWORD {
        return Some(format!("{owner}'s password has less than {MIN_PASSWORD} characters"));
    }
    is_guessable(&password).then(|| format!("{owner}'s password is weak"))
}

/// What is wrong with the connection, if it leaves this machine and the server's certificate is not verified.
pub(crate) fn unverified_connection(url: &str) -> Option<String> {
    let mode = parameters(url).filter(|(key, _)| matches!(*key, "sslmode" | "ssl-mode")).last();
    let is_verified = mode.is_some_and(|(_, mode)| matches!(mode, "verify-full" | "verify-ca"));
    (!is_verified && !is_local(url)?).then(|| {
        "the connection to the database leaves this machine, and the server's certificate is not verified"
            .to_owned()
    })
}

/// What is wrong with the password in the URL of Redis, if anything: a server beyond this machine needs one.
pub(crate) fn weak_redis_password(url: &str) -> Option<String> {
    match authority_of(url)?.contains('@') {
        true => weak_password("Redis", url),
        false => (!are_all_local(url)).then(|| "Redis has no password".to_owned()),
    }
}

/// What is wrong with the connection to Redis, if it leaves this machine without TLS.
pub(crate) fn unverified_redis_connection(url: &str) -> Option<String> {
    let is_tls = scheme_of(url) == "rediss" || scheme_of(url) == "valkeys";
    (!is_tls && !are_all_local(url))
        .then(|| "the connection to Redis leaves this machine without TLS".to_owned())
}

/// Whether all servers of a list, as sentinels and clusters have them, are on this machine.
fn are_all_local(url: &str) -> bool {
    let authority = authority_of(url).unwrap_or_default();
    let servers = authority.rsplit_once('@').map_or(authority, |(_, servers)| servers);
    servers.split(',').all(|server| is_loopback(host_of(server)))
}

/// Whether the server is on this machine: a socket in the file system, or a loopback address. `None` if the URL names
/// no server.
fn is_local(url: &str) -> Option<bool> {
    let authority = authority_of(url)?;
    let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    let host = host_of(server);
    let named = parameters(url).filter(|(key, _)| matches!(*key, "host" | "hostaddr")).last();
    let host = decoded(named.map_or(host, |(_, host)| host));
    Some(host.is_empty() || host.starts_with('/') || is_loopback(&host))
}

/// The host without its port, and an IPv6 address without its brackets.
fn host_of(server: &str) -> &str {
    match server.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => server.split(':').next().unwrap_or_default(),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// User, password, host and port.
fn authority_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split(['/', '?', '#']).next()
}

fn parameters(url: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter_map(|pair| pair.split_once('='))
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_is_a_default_the_users_name_or_short_is_weak() {
        for (url, weak) in [
            ("postgres://masque:k8Hq2vTz9RxL4mWp@db/masque", false),
            ("postgres://masque:p@ss:k8Hq2vTz9RxL4mWp@db/masque", false),
            ("postgres://db/masque", false),
            ("postgres://masque@db/masque", true),
            ("postgres://masque:@db/masque", true),
            ("postgres://masque:Postgres@db/masque", true),
            ("postgres://masque:%70ostgres@db/masque", true),
            ("postgres://k8Hq2vTz9RxL4mWp:k8Hq2vTz9RxL4mWp@db/masque", true),
            ("postgres://masque:k8Hq2vTz9RxL4mW@db/masque", true),
            ("postgres://masque:aaaaaaaaaaaaaaaa@db/masque", true),
        ] {
            assert_eq!(weak_password("the database", url).is_some(), weak, "{url}");
        }
    }

    #[test]
    fn a_connection_beyond_this_machine_without_a_verified_certificate_is_named() {
        for (url, unverified) in [
            ("postgres://u:p@db.example/masque", true),
            ("postgres://u:p@db.example/masque?sslmode=require", true),
            ("postgres://u:p@db.example/masque?sslmode=prefer&sslmode=verify-full", false),
            ("postgres://u:p@db.example/masque?sslmode=verify-ca", false),
            ("postgres://u:p@10.0.0.7:5432/masque", true),
            ("postgres://u:p@localhost/masque", false),
            ("postgres://u:p@127.0.0.1:5432/masque", false),
            ("postgres://u:p@[::1]:5432/masque", false),
            ("postgres://u:p@[2001:db8::1]:5432/masque", true),
            ("postgres://u:p@%2Frun%2Fpostgresql/masque", false),
            ("postgres:///masque?host=/run/postgresql", false),
            ("postgres://localhost/masque?host=db.example", true),
        ] {
            assert_eq!(unverified_connection(url).is_some(), unverified, "{url}");
        }
    }

    #[test]
    fn redis_beyond_this_machine_needs_a_password_and_tls() {
        for (url, weak, unverified) in [
            ("redis://localhost", false, false),
            ("redis://127.0.0.1:6379/1", false, false),
            ("redis+sentinel://127.0.0.1:1,[::1]:2/main", false, false),
            ("redis+sentinel://127.0.0.1:1,db.example:2/main", true, true),
            ("redis://cache.example", true, true),
            ("redis://:foobared@cache.example", true, true),
            ("redis://:k8Hq2vTz9RxL4mWp@cache.example", false, true),
            ("rediss://masque:k8Hq2vTz9RxL4mWp@cache.example", false, false),
            ("rediss+cluster://masque:k8Hq2vTz9RxL4mWp@a.example,b.example", false, false),
        ] {
            let found = (weak_redis_password(url).is_some(), unverified_redis_connection(url).is_some());
            assert_eq!(found, (weak, unverified), "{url}");
        }
    }

    #[test]
    fn the_name_of_a_driver_is_no_part_of_the_scheme() {
        for (url, scheme) in [
            ("postgres://db", "postgres"),
            ("postgresql+asyncpg://db", "postgresql"),
            (" sqlite:///x", "sqlite"),
            ("hunter2", ""),
        ] {
            assert_eq!(scheme_of(url), scheme);
        }
    }
}
