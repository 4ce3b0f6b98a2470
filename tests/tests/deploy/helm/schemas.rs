//! Helm, Kubernetes and the Prometheus operator accept every rendering, and would find a mistake.

use std::path::Path;

use masque_tests::deploy::in_repository;
use serde_json::{Value, json};

use super::rendering::{ALL, Rendering, chart, helm, problems_of_operator, render, try_render, values};

/// The releases of Kubernetes that the chart is for.
const KUBERNETES: [&str; 4] = ["1.34", "1.35", "1.36", "1.37"];

/// The objects of the operator.
fn of_operator(rendering: &Rendering) -> Vec<&Value> {
    let is_of_operator = |object: &&Value| object["apiVersion"] == "monitoring.coreos.com/v1";
    rendering.objects.iter().filter(is_of_operator).collect()
}

pub(super) async fn problems_of_kubernetes(objects: &[&Value]) -> Vec<Value> {
    let words: Vec<_> = ["validate"].into_iter().chain(KUBERNETES).collect();
    let Value::Array(problems) = helm(&words, &serde_json::to_string(objects).unwrap()).await else {
        panic!("no list of problems")
    };
    problems
}

#[tokio::test]
async fn helm_lint_finds_nothing_in_any_rendering() {
    for name in ALL {
        let found = helm(&["lint", chart().to_str().unwrap()], &values(name, "")).await;
        assert_eq!(found, json!([]), "{name}");
    }
}

#[tokio::test]
async fn kubernetes_accepts_every_object_of_every_rendering() {
    for name in ALL {
        let rendering = render(name, "").await;
        let core = |object: &&Value| object["apiVersion"] != "monitoring.coreos.com/v1";
        let objects: Vec<_> = rendering.objects.iter().filter(core).collect();
        assert_eq!(problems_of_kubernetes(&objects).await, Vec::<Value>::new(), "{name}");
    }
}

#[tokio::test]
async fn a_field_that_kubernetes_does_not_have_is_found_in_each_release() {
    let rendering = render("sqlite", "").await;
    let mut workload = rendering.workload().clone();
    workload["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = json!({});
    assert_eq!(problems_of_kubernetes(&[&workload]).await.len(), KUBERNETES.len());
}

#[tokio::test]
async fn the_operator_accepts_every_object_of_its_own() {
    let mut seen = 0;
    for name in ALL {
        let rendering = render(name, "").await;
        let objects = of_operator(&rendering);
        seen += objects.len();
        assert_eq!(problems_of_operator(&objects).await, "", "{name}");
    }
    assert_eq!(seen, 3);
}

#[tokio::test]
async fn an_interval_that_the_operator_can_not_read_is_found() {
    let rendering = render("postgres-redis", "").await;
    let mut monitor = rendering.object("ServiceMonitor", "").clone();
    monitor["spec"]["endpoints"][0]["interval"] = json!("often");
    assert!(problems_of_operator(&[&monitor]).await.contains("interval"));
}

#[tokio::test]
async fn a_mistake_in_a_template_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    copy(&chart(), folder.path());
    let template = folder.path().join("templates/service.yaml");
    let text = std::fs::read_to_string(&template).unwrap();
    std::fs::write(&template, text.replace("masque.hostLabels", "masque.hostLables")).unwrap();

    let answer = try_render(folder.path(), &[values("sqlite", "")]).await.remove(0);
    let refusal = answer.err().expect("it is rendered");
    assert!(refusal.contains("masque.hostLables"), "{refusal}");
    let found = helm(&["lint", folder.path().to_str().unwrap()], &values("sqlite", "")).await;
    assert!(found.to_string().contains("masque.hostLables"), "{found}");
}

/// Copies a folder, and what its links lead to.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_packaged_chart_renders_the_same_and_has_the_alerts_of_prometheus() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["package", chart().to_str().unwrap(), folder.path().to_str().unwrap()].map(str::to_owned);
    let archive = helm(&words.each_ref().map(String::as_str), "").await;
    let archive = Path::new(archive.as_str().unwrap());
    let more = "prometheusRule: { enabled: true }\n";
    let packaged = try_render(archive, &[values("postgres-redis", more)]).await.remove(0).ok().unwrap();
    assert_eq!(packaged.objects, render("postgres-redis", more).await.objects);

    let rules = in_repository("deploy/prometheus/rules.yaml");
    let rules = helm(&["read", rules.to_str().unwrap()], "").await;
    assert!(rules["groups"].as_array().unwrap().len() > 3);
    assert_eq!(packaged.object("PrometheusRule", "")["spec"], rules);
}
