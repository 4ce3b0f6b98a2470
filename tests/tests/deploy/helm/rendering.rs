//! Renders the chart. Needs PyPI and npm once, for the programs in `tests/requirements`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use masque_tests::deploy::in_repository;
use masque_tests::{node, python};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// The values that every rendering is tested with, in `ci` of the chart.
pub(super) const ALL: [&str; 5] = ["sqlite", "postgres-redis", "existing-secrets", "tls-ingress", "tls-pod"];

/// What a release would bring into the cluster.
pub(super) struct Rendering {
    pub(super) notes: String,
    pub(super) objects: Vec<Value>,
}

impl Rendering {
    /// The only object of this kind whose name ends so.
    pub(super) fn object(&self, kind: &str, ending: &str) -> &Value {
        self.find(kind, ending).unwrap_or_else(|| panic!("there is no {kind} {ending}"))
    }

    pub(super) fn find(&self, kind: &str, ending: &str) -> Option<&Value> {
        let mut found = self.objects.iter().filter(|object| {
            object["kind"] == kind && object["metadata"]["name"].as_str().unwrap().ends_with(ending)
        });
        let first = found.next();
        assert!(found.next().is_none(), "there are several {kind} {ending}");
        first
    }

    /// The Deployment or StatefulSet of the hosts.
    pub(super) fn workload(&self) -> &Value {
        self.find("Deployment", "").unwrap_or_else(|| self.object("StatefulSet", ""))
    }

    /// The only container of a host.
    pub(super) fn container(&self) -> &Value {
        let containers = self.workload()["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1);
        &containers[0]
    }

    /// The `masque.toml` of the hosts.
    pub(super) fn configuration(&self) -> &str {
        self.object("ConfigMap", "chat-masque")["data"]["masque.toml"].as_str().unwrap()
    }
}

/// The chart in the repository.
pub(super) fn chart() -> PathBuf {
    in_repository("deploy/helm/masque")
}

/// Renders the chart with values of its folder `ci` and more of them, as YAML.
pub(super) async fn render(name: &str, more: &str) -> Rendering {
    static ANSWERS: OnceCell<Vec<Value>> = OnceCell::const_new();
    let answer = if more.is_empty() {
        let texts = ALL.map(|name| values(name, ""));
        let answers = ANSWERS.get_or_init(|| async { answers(&chart(), &texts).await }).await;
        answers[ALL.iter().position(|each| *each == name).unwrap()].clone()
    } else {
        answers(&chart(), &[values(name, more)]).await.remove(0)
    };
    read(answer).unwrap_or_else(|refusal| panic!("{name}: {refusal}"))
}

/// Renders a chart with each of these values. Returns why Helm refuses it.
pub(super) async fn try_render(chart: &Path, values: &[String]) -> Vec<Result<Rendering, String>> {
    answers(chart, values).await.into_iter().map(read).collect()
}

async fn answers(chart: &Path, values: &[String]) -> Vec<Value> {
    let input = serde_json::to_string(values).unwrap();
    let Value::Array(answers) = helm(&["render", chart.to_str().unwrap()], &input).await else {
        panic!("no list of answers")
    };
    assert_eq!(answers.len(), values.len());
    answers
}

fn read(mut answer: Value) -> Result<Rendering, String> {
    if let Some(refusal) = answer["refused"].as_str() {
        return Err(refusal.to_owned());
    }
    let Value::Array(objects) = answer["objects"].take() else { panic!("no objects: {answer}") };
    assert!(objects.len() > 3, "{objects:?}");
    Ok(Rendering { notes: answer["notes"].as_str().unwrap().to_owned(), objects })
}

/// The values of a file in `ci`, and more of them. A key that both have is that of the second: YAML has no merge, so the
/// second is a whole top-level section.
pub(super) fn values(name: &str, more: &str) -> String {
    let file = chart().join("ci").join(format!("{name}-values.yaml"));
    let text = std::fs::read_to_string(file).unwrap();
    let replaced: Vec<_> = more.lines().filter_map(top_level_key).collect();
    let mut kept = true;
    let mut values = String::new();
    for line in text.lines() {
        if let Some(key) = top_level_key(line) {
            kept = !replaced.contains(&key);
        }
        if kept {
            values.push_str(line);
            values.push('\n');
        }
    }
    values + more
}

/// The key that a line of YAML begins with, if it is not indented.
fn top_level_key(line: &str) -> Option<&str> {
    let begins = line.starts_with(|letter: char| letter.is_ascii_alphabetic());
    begins.then(|| line.split(':').next().unwrap())
}

/// Runs `helm.py` with this standard input. Returns what it prints.
pub(super) async fn helm(words: &[&str], input: &str) -> Value {
    static ENVIRONMENT: OnceCell<PathBuf> = OnceCell::const_new();
    let make = || python::locked_environment("helm", "tests/requirements/helm.txt");
    let environment = ENVIRONMENT.get_or_init(make).await;
    let mut command = Command::new(environment.join("bin/python"));
    command.arg(in_repository("tests/tests/deploy/helm/helm.py")).args(words);
    serde_json::from_str(&output_of(command, input).await).unwrap()
}

/// What the schemas of the Prometheus operator find wrong with objects.
pub(super) async fn problems_of_operator(objects: &[&Value]) -> String {
    static PACKAGES: OnceCell<PathBuf> = OnceCell::const_new();
    let make = || node::packages("prometheus-operator", "tests/requirements/prometheus-operator");
    let folder = PACKAGES.get_or_init(make).await;
    // Packages are looked for from the folder of the script.
    let script = in_repository("tests/tests/deploy/helm/operator.mjs");
    std::fs::copy(script, folder.join("operator.mjs")).unwrap();
    let mut command = Command::new("node");
    command.arg(folder.join("operator.mjs"));
    output_of(command, &serde_json::to_string(objects).unwrap()).await
}

async fn output_of(mut command: Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    // A program that reads nothing closes the pipe.
    let write = async move { stdin.write_all(input.as_bytes()).await };
    let (_, output) = tokio::join!(write, process.wait_with_output());
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
