//! The host's own sections: `[server]`, `[stream]`, `[turn]`, `[drain]`, `[data]`, `[log]` and `[sandbox]`, with their
//! defaults and bounds. The reference, `docs/configuration.md`, is tested against what is read here.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::edge;
use super::report::nearest;
use super::section::{Found, Section};
use super::types::{Drain, Limits, Log, LogFormat, Sandbox, Server, Stream, Turn};
use super::values::{self, Form, Wrong};

pub(super) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8000);
pub(super) const DEFAULT_DATA: &str = "./masque-data";

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// `[server]`, and the address apart, which a variable or a flag may overrule.
pub(super) fn server(mut section: Section<'_, '_>) -> (Server, Option<Found<SocketAddr>>) {
    let listen = section.read(
        "listen",
        Form { what: "an address with a port", example: "\"127.0.0.1:8000\"" },
        |value| {
            let text = value.get_ref().as_str().ok_or(Wrong::Type)?;
            parse_listen(text).ok_or(Wrong::Form)
        },
    );
    section.defaults("listen", || DEFAULT_LISTEN.to_string());
    let max_message = section.size("max_message_bytes", 64 * KIB, 1..=16 * MIB);
    let max_body = section.size("max_body_bytes", MIB, KIB..=64 * MIB);
    if max_message.value > max_body.value {
        section.report.error_at(
            &max_message.span,
            format!(
                "a message of {} does not fit into a body of {}",
                values::show_size(max_message.value),
                values::show_size(max_body.value)
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
        max_connections: count(&mut section, "max_connections", 4096, 1_000_000),
        max_url_bytes: section.size("max_url_bytes", 8 * KIB, 256..=32 * KIB).value,
        trusted_proxies: edge::trusted_proxies(&mut section),
    };
    section.finish();
    (server, listen)
}

pub(super) fn stream(mut section: Section<'_, '_>) -> Stream {
    let stream = Stream {
        hold: section.duration("hold", 10 * SECOND, Duration::ZERO..=60 * SECOND),
        keepalive: section.duration("keepalive", 15 * SECOND, 10 * MILLISECOND..=HOUR),
    };
    section.finish();
    stream
}

pub(super) fn turn(mut section: Section<'_, '_>) -> Turn {
    let turn = Turn {
        timeout: section.duration("timeout", 120 * SECOND, 100 * MILLISECOND..=HOUR),
        max_concurrent: count(&mut section, "max_concurrent", 256, 100_000),
        waiting: usize::try_from(section.count("waiting", 4, 0..=1000)).unwrap_or(usize::MAX),
        wait: section.duration("wait", 30 * SECOND, Duration::ZERO..=HOUR),
        linger: section.duration("linger", SECOND, Duration::ZERO..=HOUR),
        linger_keyed: section.duration("linger_keyed", 15 * SECOND, Duration::ZERO..=HOUR),
        log_ttl: section.duration("log_ttl", 60 * SECOND, Duration::ZERO..=HOUR),
        reply_bytes: section.size("reply_bytes", MIB, KIB..=64 * MIB).value,
    };
    section.finish();
    turn
}

pub(super) fn drain(mut section: Section<'_, '_>) -> Drain {
    let drain = Drain {
        delay: section.duration("delay", 5 * SECOND, Duration::ZERO..=HOUR),
        timeout: section.duration("timeout", 30 * SECOND, Duration::ZERO..=HOUR),
    };
    section.finish();
    drain
}

/// `[data]`: the folders, from `beside` on.
pub(super) fn data(mut section: Section<'_, '_>, beside: &Path) -> (Option<PathBuf>, Option<PathBuf>) {
    let mut path = |key, example, default: &str| {
        let path =
            section.read(key, Form { what: "a path", example }, |value| match value.get_ref().as_str() {
                Some("") => Err(Wrong::Form),
                Some(path) => can_be_folder(beside.join(path)),
                None => Err(Wrong::Type),
            });
        section.defaults(key, || default.to_owned());
        path.map(|path| path.value)
    };
    let folder = path("folder", "\"masque-data\"", DEFAULT_DATA);
    let compiled = path("compiled", "\"/var/cache/masque\"", "compiled");
    section.finish();
    (folder, compiled)
}

/// The path, unless something else than a folder stands there or on the way to it.
fn can_be_folder(path: PathBuf) -> Result<PathBuf, Wrong> {
    let in_the_way = path.ancestors().find(|part| part.symlink_metadata().is_ok() && !part.is_dir());
    match in_the_way {
        Some(part) => Err(Wrong::Other(
            format!("{} is not a folder", part.display()),
            "Name a folder, or a path where one can be made.".to_owned(),
        )),
        None => Ok(path),
    }
}

pub(super) fn log(mut section: Section<'_, '_>) -> Log {
    let form = Form { what: "\"text\" or \"json\"", example: "\"text\"" };
    let format = section.read("format", form, |value| match value.get_ref().as_str() {
        Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        Some(_) => Err(Wrong::Form),
        None => Err(Wrong::Type),
    });
    section.defaults("format", || "text".to_owned());
    let level = section.read("level", Form { what: "a level", example: "\"info\"" }, |value| {
        let text = value.get_ref().as_str().ok_or(Wrong::Type)?;
        level(text)
    });
    section.defaults("level", || "info".to_owned());
    section.finish();
    Log {
        format: format.map_or(LogFormat::Text, |found| found.value),
        level: level.map_or_else(|| "info".to_owned(), |found| found.value),
    }
}

/// The filter would take a mistyped level for the name of a module, and then log next to nothing.
fn level(text: &str) -> Result<String, Wrong> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    for directive in text.split(',') {
        let level = directive.rsplit('=').next().unwrap_or_default().trim();
        if !LEVELS.contains(&level) {
            let remedy = match nearest(level, LEVELS) {
                Some(meant) => format!("Did you mean `{meant}`?"),
                None => "Levels are error, warn, info, debug, trace and off, as in `level = \"info,masque=debug\"`."
                    .to_owned(),
            };
            return Err(Wrong::Other(format!("\"{}\" is not a level", level.escape_debug()), remedy));
        }
    }
    match text.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Wrong::Form),
    }
}

pub(super) fn sandbox(mut section: Section<'_, '_>) -> Sandbox {
    let default = Sandbox::default();
    let instances = section.count("instances", default.instances.into(), 8..=100_000);
    let sandbox = Sandbox {
        instances: u32::try_from(instances).unwrap_or(u32::MAX),
        memory_bytes: section.size("memory", default.memory_bytes, MIB..=4 * GIB).value,
        slot_wait: section.duration("slot_wait", default.slot_wait, Duration::ZERO..=HOUR),
    };
    section.finish();
    sandbox
}

/// A plugin's `limits`; `most` is what the sandbox can give.
pub(super) fn limits(mut section: Section<'_, '_>, most: usize) -> Limits {
    let default = Limits::default();
    let memory = section.size("memory", default.memory_bytes, MIB..=4 * GIB);
    if memory.value > most && section.has("memory") {
        section.report.error_at(
            &memory.span,
            format!(
                "{} is more memory than the sandbox gives ({})",
                values::show_size(memory.value),
                values::show_size(most)
            ),
            "Lower it, or raise `memory` in [sandbox].",
        );
    }
    let limits = Limits {
        wall: section.duration("wall", default.wall, MILLISECOND..=HOUR),
        cpu: section.duration("cpu", default.cpu, MILLISECOND..=HOUR),
        memory_bytes: memory.value.min(most),
    };
    section.finish();
    limits
}

/// An address with a port; the one name that needs no resolver is `localhost`.
pub(super) fn parse_listen(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    }
}

fn count(section: &mut Section<'_, '_>, key: &'static str, default: u32, most: u64) -> usize {
    usize::try_from(section.count(key, default.into(), 1..=most)).unwrap_or(usize::MAX)
}
