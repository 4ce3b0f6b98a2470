//! `[cors]` and `CORS_ORIGINS`: the origins whose pages may call the host.
//!
//! Threat: without authentication every page that may call the host acts as its one user. Policy: while authentication is
//! off, no other origin is allowed.

use std::net::Ipv6Addr;

use serde::Serialize;

use crate::diagnostic::Location;
use crate::environment::{CORS_ORIGINS, Environment};
use crate::report::Report;
use crate::section::{Section, items};
use crate::value::{Expected, InvalidValue};

/// The origins whose pages may call the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Cors {
    /// No other origin.
    Nobody,
    /// Every origin.
    Anyone,
    /// These origins, in the form in which browsers send them. Never empty.
    Origins(Vec<String>),
}

const REMEDY: &str = "Write origins as browsers send them, such as `https://app.example.com` or `http://localhost:3000`, or `*` for all.";

/// Reads the origins from the variable if it is set, else from the section.
pub(crate) fn read(
    mut section: Section<'_, '_>,
    environment: &Environment,
    authentication_required: bool,
) -> Cors {
    let report = section.report;
    let expected = Expected { what: "a list of origins", example: "[\"https://app.example.com\"]" };
    let in_file = section.list("origins", expected, |text| {
        origin(text).map_err(|what| InvalidValue::Other(what, REMEDY.to_owned()))
    });
    section.finish();
    let in_file = in_file.map(|found| {
        let location = report.location(&found.span);
        (from_origins(items(Some(found))), location)
    });
    let (cors, location) = match environment.get(CORS_ORIGINS) {
        Some(text) => (from_variable(text, report), Location::Variable(CORS_ORIGINS.to_owned())),
        None => match in_file {
            Some(found) => found,
            None => return Cors::Nobody,
        },
    };
    if !authentication_required && cors != Cors::Nobody {
        report.error(
            location,
            "while authentication is off, pages of other origins are refused",
            "Unset it, and serve the page and the host from one origin.",
        );
    }
    cors
}

fn from_variable(text: &str, report: &Report<'_>) -> Cors {
    let mut origins = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match origin(item) {
            Ok(origin) => origins.push(origin),
            Err(what) => report.error(Location::Variable(CORS_ORIGINS.to_owned()), what, REMEDY),
        }
    }
    from_origins(origins)
}

fn from_origins(origins: Vec<String>) -> Cors {
    if origins.iter().any(|origin| origin == "*") {
        Cors::Anyone
    } else if origins.is_empty() {
        Cors::Nobody
    } else {
        Cors::Origins(origins)
    }
}

/// The origin as browsers write it (RFC 6454, section 6.2): in lower case, without the default port of the scheme.
///
/// # Errors
/// What is wrong with the text.
fn origin(text: &str) -> Result<String, String> {
    let refused = |why: &str| Err(format!("\"{}\" is no origin: {why}", text.escape_debug()));
    if text == "*" {
        return Ok(text.to_owned());
    }
    let Some((scheme, rest)) = text.split_once("://") else { return refused("it has no scheme") };
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => 443,
        "http" => 80,
        "ftp" | "ws" | "wss" => return refused("no page is loaded with its scheme"),
        "file" | "data" | "blob" | "about" | "javascript" => {
            return refused("browsers send `null` for its scheme, which many pages share");
        }
        _ => return app_origin(&scheme, rest).map_or_else(refused, Ok),
    };
    let rest = rest.to_ascii_lowercase();
    if rest.contains(['/', '?', '#']) {
        return refused("an origin has no path");
    }
    if rest.contains('@') {
        return refused("an origin names no user");
    }
    let (host, port) = match rest.rfind(':') {
        Some(colon) if !rest.ends_with(']') => {
            let (host, port) = rest.split_at(colon);
            (host, Some(port.trim_start_matches(':')))
        }
        _ => (rest.as_str(), None),
    };
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_valid = match literal {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        None => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            !host.is_empty() && host.bytes().all(allowed)
        }
    };
    if !is_valid {
        return refused("its host is no name and no address");
    }
    match port.map(str::parse::<u16>) {
        None => Ok(format!("{scheme}://{rest}")),
        Some(Ok(port)) if port == default_port => Ok(format!("{scheme}://{host}")),
        Some(Ok(port)) if port > 0 => Ok(format!("{scheme}://{host}:{port}")),
        Some(_) => refused("its port is no number from 1 to 65535"),
    }
}

/// The origin of a desktop or mobile app or a browser extension, which loads its pages with a scheme of its own, such as
/// `tauri://localhost`. The scheme has no default port, and the host keeps its case: browsers compare it byte for byte.
///
/// # Errors
/// What is wrong with it.
fn app_origin(scheme: &str, host: &str) -> Result<String, &'static str> {
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    if !is_scheme {
        return Err("its scheme is none");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(allowed) {
        return Err("an origin has a host after the scheme, and no path");
    }
    Ok(format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
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
            ("tauri://localhost", "tauri://localhost"),
            ("Tauri://localhost", "tauri://localhost"),
            ("http://tauri.localhost", "http://tauri.localhost"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("app://obsidian.md", "app://obsidian.md"),
            ("app://-", "app://-"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
            ("vscode-webview://1a2B", "vscode-webview://1a2B"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(written), "{text}");
        }
        for text in [
            "",
            "app.example.com",
            "localhost:3000",
            "ftp://app.example.com",
            "ws://app.example.com",
            "file://",
            "file:///home/ana/page.html",
            "data://x",
            "tauri://",
            "tauri://localhost/index.html",
            "tauri://*",
            "1tauri://localhost",
            "ta uri://localhost",
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
}
