//! A Prometheus server for tests: Debian's, on a free port, in a folder of its own.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use crate::deploy::in_repository;
use crate::wait::{eventually, within};

/// Runs the program `$2…` with its log in the folder `$1`, until the input of this script ends. So the server goes with its
/// test, also when that is killed.
const KEEPER: &str = r#"
log=$1/log
shift
"$@" >"$log" 2>&1 &
server=$!
cat >/dev/null
kill -KILL "$server" 2>/dev/null
wait "$server" 2>/dev/null
"#;

/// A server that scrapes hosts every second, and evaluates the alerts of `deploy/prometheus`. Dropping it ends it.
pub struct Prometheus {
    folder: TempDir,
    keeper: Child,
    address: SocketAddr,
    http: reqwest::Client,
}

/// A host to scrape.
pub struct ScrapeTarget<'a> {
    /// `127.0.0.1:PORT` of a listener that serves `/metrics`.
    pub address: &'a str,
    /// The certificate of the authority, if the listener speaks TLS.
    pub trusted: Option<&'a str>,
}

impl Prometheus {
    /// Starts the server and waits until it has scraped all targets. They have the label `job="masque"`.
    pub async fn start(targets: &[ScrapeTarget<'_>]) -> Self {
        let folder = tempfile::Builder::new().prefix("masque-prometheus-").tempdir().unwrap();
        let rules = in_repository("deploy/prometheus/rules.yaml");
        let mut configuration = format!(
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\n\
             rule_files: [{rules:?}]\nscrape_configs:\n"
        );
        for (number, target) in targets.iter().enumerate() {
            let address = target.address;
            configuration.push_str(&format!(
                "  - job_name: target-{number}\n    static_configs:\n      - targets: [{address:?}]\n        labels: {{ job: masque }}\n"
            ));
            if let Some(pem) = target.trusted {
                let file = folder.path().join(format!("authority-{number}.pem"));
                std::fs::write(&file, pem).unwrap();
                configuration
                    .push_str(&format!("    scheme: https\n    tls_config: {{ ca_file: {file:?} }}\n"));
            }
        }
        let file = folder.path().join("prometheus.yaml");
        std::fs::write(&file, configuration).unwrap();
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(folder.path())
            .arg("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--enable-feature=exemplar-storage"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let log = folder.path().join("log");
        let address = eventually("Prometheus to listen", || async {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(!text.contains("level=error"), "{text}");
            let (_, rest) = text.split_once("\"Listening on\" address=")?;
            rest.split_once(char::is_whitespace)?.0.parse().ok()
        })
        .await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let prometheus = Self { folder, keeper, address, http };
        eventually("Prometheus to scrape all targets", || async {
            let up = prometheus.try_query("up == 1").await?;
            (up.len() == targets.len()).then_some(())
        })
        .await;
        prometheus
    }

    /// The series that an expression has now, each with `metric` and `value`.
    pub async fn query(&self, expression: &str) -> Vec<Value> {
        self.try_query(expression).await.unwrap_or_else(|| panic!("no answer to {expression}"))
    }

    /// The same from a server that may still be starting.
    async fn try_query(&self, expression: &str) -> Option<Vec<Value>> {
        let answer = self.try_get(&format!("query?query={}", encoded(expression))).await?;
        Some(answer["data"]["result"].as_array()?.clone())
    }

    /// The series that an expression had in each second since `start`, each with `metric` and `values`.
    pub async fn query_since(&self, expression: &str, start: u64) -> Vec<Value> {
        let query = encoded(expression);
        let answer =
            self.get(&format!("query_range?query={query}&start={start}&end={}&step=1", seconds())).await;
        answer["data"]["result"].as_array().unwrap().clone()
    }

    /// The exemplars of all series since `start`.
    pub async fn exemplars_since(&self, start: u64) -> Vec<Value> {
        let query = encoded("{job=\"masque\"}");
        let answer =
            self.get(&format!("query_exemplars?query={query}&start={start}&end={}", seconds())).await;
        let series = answer["data"].as_array().unwrap().iter();
        series.flat_map(|series| series["exemplars"].as_array().unwrap().clone()).collect()
    }

    /// Whether a target has named the type of a metric, also of one without series.
    pub async fn knows(&self, metric: &str) -> bool {
        // OpenMetrics names a family of counters without the ending of its series.
        for name in [metric, metric.strip_suffix("_total").unwrap_or(metric)] {
            let answer = self.get(&format!("metadata?metric={name}")).await;
            if answer["data"].get(name).is_some() {
                return true;
            }
        }
        false
    }

    /// The rules that are loaded.
    pub async fn rules(&self) -> Vec<Value> {
        let answer = self.get("rules").await;
        let groups = answer["data"]["groups"].as_array().unwrap().iter();
        groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }

    /// Waits until an expression has a series.
    pub async fn until(&self, expression: &str) {
        let what = format!("Prometheus to find {expression}");
        eventually(&what, || async { (!self.query(expression).await.is_empty()).then_some(()) }).await;
    }

    /// Waits until every target was scraped after now.
    pub async fn scraped(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        // The time of a sample is that at which its scrape began.
        self.until(&format!("min(timestamp(up{{job=\"masque\"}})) > {now:.3}")).await;
    }

    async fn get(&self, path: &str) -> Value {
        self.try_get(path).await.unwrap_or_else(|| panic!("no answer to {path}"))
    }

    /// An answer of the API, unless the server is starting. Panics if it refuses the request.
    async fn try_get(&self, path: &str) -> Option<Value> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let response = within("an answer of Prometheus", self.http.get(url).send()).await.ok()?;
        if response.status() == 503 {
            return None;
        }
        let answer: Value = response.json().await.ok()?;
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        Some(answer)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // The script ends with its input, and the server with the script.
        drop(self.keeper.stdin.take());
        let ended = self.keeper.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("--- log of Prometheus, which ended with {ended:?}\n{log}--- end of the log");
        }
    }
}

/// Seconds since 1970, rounded down.
pub fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Percent-encodes the value of a query parameter.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(encode).collect()
}
