//! The command `masque health`: asks a running host whether it is ready, for the health check of a container.
//!
//! The command runs every few seconds for as long as the host does. It therefore reads as little as it can: where a flag or a
//! variable names the data folder, the configuration is not read at all, and otherwise only `[data]` of it. A file that is no
//! longer valid does not make a host unhealthy that runs with the content from before.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use http::{Method, StatusCode, Uri, uri::Scheme};
use masque_grants::port_of;
use serde_json::Value;

use crate::args::Options;
use crate::configuration;
use crate::socket_client::{Answer, ask, ask_address};

const PATH: &str = "/readyz";
/// How long the whole command may take. Docker and systemd count a check that takes longer as failed.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Where the host is asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Over the socket in this data folder.
    Folder(PathBuf),
    /// At `HOST:PORT`, over plain HTTP.
    Address(String),
}

impl Target {
    /// Returns the address in `url`, or else the data folder of `options`, of `variable` (`MASQUE_DATA`) or of the
    /// configuration.
    ///
    /// # Errors
    /// The URL is not one of a host, or nothing names the folder since the configuration can't be read.
    pub(crate) fn find(
        url: Option<&str>,
        options: Options,
        variable: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        if let Some(url) = url {
            return Ok(Self::Address(address_of(url)?));
        }
        let variable = variable.filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = options.data.clone().or(variable) {
            return Ok(Self::Folder(folder));
        }
        match configuration::source(options, false).load_data_folder() {
            Ok(loaded) => Ok(Self::Folder(loaded.part)),
            Err(_) => bail!(
                "the configuration can't be read, so the data folder is not known; name it with --data, or see `masque check`"
            ),
        }
    }
}

/// Returns `HOST:PORT` of a URL such as `http://127.0.0.1:8000`.
fn address_of(url: &str) -> anyhow::Result<String> {
    let form = "the URL has the form http://HOST:PORT";
    if url.contains('@') {
        // Not quoted: a password may be in front of the `@`.
        bail!("{form} without a user and a password: {PATH} needs none");
    }
    let uri: Uri = url.parse().with_context(|| format!("{form}, not {url:?}"))?;
    let (Some(authority), Some(scheme)) = (uri.authority(), uri.scheme()) else {
        bail!("{form}, not {url:?}")
    };
    if *scheme != Scheme::HTTP {
        bail!("{form}; a host with TLS is asked over the socket in its data folder, without --url");
    }
    if uri.path() != "/" || uri.query().is_some() {
        bail!("{form} without a path: {PATH} is asked");
    }
    let host = authority.host();
    if host.is_empty() {
        bail!("{form}, not {url:?}");
    }
    let Some(port) = port_of(authority, 80) else {
        bail!("{form}; the port in {url:?} is no number from 1 to 65535")
    };
    Ok(format!("{host}:{port}"))
}

/// Returns a line that says that the host is ready.
///
/// # Errors
/// It is not ready, for the reason in the error, or can't be reached within [`TIMEOUT`].
pub(crate) async fn ask_readiness(target: &Target) -> anyhow::Result<String> {
    let asking = async {
        match target {
            Target::Folder(folder) => ask(folder, Method::GET, PATH, None).await,
            Target::Address(address) => ask_address(address, PATH).await,
        }
    };
    let answer = tokio::time::timeout(TIMEOUT, asking)
        .await
        .with_context(|| format!("the host does not answer within {} seconds", TIMEOUT.as_secs()))??;
    readiness(&answer)
}

fn readiness(answer: &Answer) -> anyhow::Result<String> {
    let field = |name: &str| answer.body.get(name).and_then(Value::as_str);
    match (answer.status, field("status")) {
        (StatusCode::OK, Some("ok")) => Ok("The host is ready.".to_owned()),
        (StatusCode::OK, _) => bail!("what answers is not a host of Masque"),
        (status, _) => {
            let reason = field("detail").or_else(|| field("title")).unwrap_or(status.as_str());
            bail!("the host is not ready: {}", reason.lines().collect::<Vec<_>>().join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    fn options(data: Option<&str>) -> Options {
        Options { config: Some("/nowhere/masque.toml".into()), listen: None, data: data.map(PathBuf::from) }
    }

    #[test]
    fn a_named_folder_needs_no_configuration_that_can_be_read() {
        let folder = |name: &str| Target::Folder(name.into());
        assert_eq!(Target::find(None, options(Some("a")), Some("b".into())).unwrap(), folder("a"));
        assert_eq!(Target::find(None, options(None), Some("b".into())).unwrap(), folder("b"));
        let error = Target::find(None, options(None), Some("".into())).unwrap_err().to_string();
        assert!(error.contains("--data") && error.lines().count() == 1, "{error}");
    }

    #[test]
    fn a_url_is_the_address_of_a_host_over_plain_http() {
        for (url, address) in [
            ("http://127.0.0.1:8000", "127.0.0.1:8000"),
            ("http://[::1]:8000/", "[::1]:8000"),
            ("http://masque", "masque:80"),
        ] {
            assert_eq!(address_of(url).unwrap(), address);
        }
        for url in
            ["https://masque:8443", "masque:8000", "/readyz", "http://masque/readyz", "http://masque/?a", ""]
        {
            assert!(address_of(url).is_err(), "{url}");
        }
    }

    #[test]
    fn neither_another_port_than_the_named_one_is_asked_nor_a_user_is_dropped() {
        for (url, part) in [
            ("http://127.0.0.1:99999", "no number from 1 to 65535"),
            ("http://127.0.0.1:0", "no number from 1 to 65535"),
            ("http://127.0.0.1:", "no number from 1 to 65535"),
            ("http://[::1]:99999/", "no number from 1 to 65535"),
            ("http://:8000", "http://HOST:PORT"),
            ("http://me:hunter2@127.0.0.1:8000", "without a user"),
            ("http://me@127.0.0.1:8000/readyz", "without a user"),
        ] {
            let error = format!("{:#}", address_of(url).unwrap_err());
            assert!(error.contains(part) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn only_the_answer_of_a_ready_host_is_a_success_and_a_failure_has_one_line() {
        let answer = |status, body| readiness(&Answer { status, body });
        assert!(answer(StatusCode::OK, json!({ "status": "ok" })).is_ok());
        assert!(answer(StatusCode::OK, Value::Null).is_err(), "a page of another server");
        let loading =
            answer(StatusCode::SERVICE_UNAVAILABLE, json!({ "title": "Loading", "detail": "It\nloads." }));
        assert_eq!(loading.unwrap_err().to_string(), "the host is not ready: It loads.");
        let empty = answer(StatusCode::BAD_GATEWAY, Value::Null);
        assert_eq!(empty.unwrap_err().to_string(), "the host is not ready: 502");
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_does_not_answer_is_a_failure_within_the_limit() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let error = ask_readiness(&Target::Address(address)).await.unwrap_err().to_string();
        assert!(error.contains("within 3 seconds"), "{error}");
    }
}
