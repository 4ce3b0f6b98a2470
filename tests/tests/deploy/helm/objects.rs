//! How the objects of a rendering belong together: who reaches which port, what scales and scrapes the hosts, and what an
//! ingress does with streams.

use masque_tests::deploy::in_repository;
use serde_json::{Value, json};

use super::rendering::{ALL, Rendering, helm, render};
use crate::catalogue::is_metric;

/// Whether every label of a selector is one of these.
fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().unwrap();
    !selector.is_empty() && selector.iter().all(|(name, value)| labels[name] == *value)
}

fn pod_labels(owner: &Value) -> &Value {
    &owner["spec"]["template"]["metadata"]["labels"]
}

/// The rules of ingress that let somebody reach this port.
fn rules_for<'r>(rendering: &'r Rendering, port: &str) -> Vec<&'r Value> {
    let rules = rendering.object("NetworkPolicy", "")["spec"]["ingress"].as_array().unwrap();
    let opens = |rule: &&Value| {
        // A rule without ports is for all of them.
        rule["ports"].as_array().is_none_or(|ports| ports.iter().any(|each| each["port"] == port))
    };
    rules.iter().filter(opens).collect()
}

#[tokio::test]
async fn only_the_monitoring_namespace_reaches_the_admin_port() {
    for name in ALL {
        let rendering = render(name, "").await;
        let policy = rendering.object("NetworkPolicy", "");
        assert!(
            selects(&policy["spec"]["podSelector"]["matchLabels"], pod_labels(rendering.workload())),
            "{name}"
        );
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]), "{name}");
        let rules = rules_for(&rendering, "admin");
        let monitoring = json!({ "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } });
        let peers = json!([{ "namespaceSelector": monitoring }]);
        assert_eq!(rules.iter().map(|rule| &rule["from"]).collect::<Vec<_>>(), [&peers], "{name}");

        // Nothing else leads there.
        let services = rendering.objects.iter().filter(|object| object["kind"] == "Service");
        for service in services {
            let is_admin = service["metadata"]["name"].as_str().unwrap().ends_with("-admin");
            for port in service["spec"]["ports"].as_array().unwrap() {
                assert_eq!(port["targetPort"] == "admin", is_admin, "{name}");
            }
            assert!(!is_admin || service["spec"]["clusterIP"] == "None", "{name}");
        }
    }
}

#[tokio::test]
async fn clients_are_those_that_the_values_name() {
    let rendering = render("sqlite", "").await;
    assert_eq!(rules_for(&rendering, "http")[0]["from"], Value::Null);
    let rendering = render("postgres-redis", "").await;
    let ingress = json!({ "matchLabels": { "kubernetes.io/metadata.name": "ingress" } });
    assert_eq!(rules_for(&rendering, "http")[0]["from"], json!([{ "namespaceSelector": ingress }]));
}

#[tokio::test]
async fn hosts_and_migrations_reach_what_they_use_and_nothing_else() {
    let table = [
        ("sqlite", vec![53, 53, 443]),
        ("tls-pod", vec![53, 53, 5432, 443]),
        ("existing-secrets", vec![53, 53, 5432, 6379, 443]),
        ("postgres-redis", vec![53, 53, 5432, 6432, 6379, 443, 4318]),
    ];
    for (name, expected) in table {
        let rendering = render(name, "").await;
        let policy = &rendering.object("NetworkPolicy", "")["spec"];
        let rules = policy["egress"].as_array().unwrap();
        let ports = rules.iter().flat_map(|rule| rule["ports"].as_array().unwrap());
        assert_eq!(ports.map(|port| port["port"].as_u64().unwrap()).collect::<Vec<_>>(), expected, "{name}");
        if let Some(job) = rendering.find("Job", "") {
            assert!(selects(&policy["podSelector"]["matchLabels"], pod_labels(job)), "{name}");
        }
    }
}

#[tokio::test]
async fn services_budgets_and_workloads_select_hosts_and_not_the_job_of_migrations() {
    for name in ALL {
        let rendering = render(name, "").await;
        for object in &rendering.objects {
            let selector = match object["kind"].as_str().unwrap() {
                "Service" => &object["spec"]["selector"],
                "PodDisruptionBudget" | "Deployment" | "StatefulSet" => {
                    &object["spec"]["selector"]["matchLabels"]
                }
                _ => continue,
            };
            assert!(selects(selector, pod_labels(rendering.workload())), "{name}: {object}");
            if let Some(job) = rendering.find("Job", "") {
                assert!(!selects(selector, pod_labels(job)), "{name}: {object}");
            }
        }
    }
}

#[tokio::test]
async fn an_sqlite_host_is_one_with_a_claim_that_stays_and_others_are_several() {
    let sqlite = render("sqlite", "").await;
    let set = &sqlite.object("StatefulSet", "")["spec"];
    assert_eq!(set["replicas"], 1);
    assert_eq!(set["persistentVolumeClaimRetentionPolicy"]["whenDeleted"], "Retain");
    assert_eq!(set["volumeClaimTemplates"][0]["metadata"]["name"], "data");
    assert_eq!(sqlite.find("PodDisruptionBudget", "").map(|_| ()), None);
    assert_eq!(sqlite.find("Job", "").map(|_| ()), None);

    let postgres = render("existing-secrets", "replicas: 3\n").await;
    let deployment = &postgres.object("Deployment", "")["spec"];
    assert_eq!(deployment["replicas"], 3);
    assert_eq!(deployment["strategy"]["rollingUpdate"], json!({ "maxSurge": 1, "maxUnavailable": 0 }));
    assert_eq!(postgres.object("PodDisruptionBudget", "")["spec"]["maxUnavailable"], 1);
    assert_eq!(postgres.find("StatefulSet", "").map(|_| ()), None);
}

#[tokio::test]
async fn migrations_run_before_the_hosts_and_find_what_they_need() {
    let rendering = render("postgres-redis", "").await;
    let job = rendering.object("Job", "");
    let hook = |object: &Value| object["metadata"]["annotations"]["helm.sh/hook"].clone();
    let weight = |object: &Value| {
        let weight = &object["metadata"]["annotations"]["helm.sh/hook-weight"];
        weight.as_str().unwrap().parse::<i32>().unwrap()
    };
    assert_eq!(hook(job), "pre-install,pre-upgrade");
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["command"], json!(["masque", "migrate"]));
    // The volume that the image declares belongs to the image's user.
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["volumeMounts"][1],
        json!({ "name": "data", "mountPath": "/var/lib/masque" })
    );
    assert_eq!(pod["volumes"][1], json!({ "name": "data", "emptyDir": {} }));
    // Nothing that is no hook itself is there before an install.
    for object in [rendering.object("ConfigMap", "-migrate"), rendering.object("Secret", "-migrate")] {
        assert_eq!(hook(object), hook(job));
        assert!(weight(object) < weight(job));
    }
    let text = job.to_string();
    for variable in ["DATABASE_URL", "DATABASE_DIRECT_URL"] {
        assert!(text.contains(&format!("\"{variable}\"")), "{variable}");
    }
    assert_eq!(text.matches("\"chat-masque-migrate\"").count(), 4);
    assert!(!text.contains("\"chat-masque\""), "the Job needs what is not there yet");
    let database = "[database]\nmax_connections = 32\nstatement_timeout = \"15s\"";
    assert!(rendering.configuration().contains(database));
    let own = rendering.object("ConfigMap", "-migrate")["data"]["masque.toml"].as_str().unwrap();
    assert!(own.contains(database), "{own}");
}

#[tokio::test]
async fn hosts_scale_by_cpu_and_by_a_metric_that_exists() {
    let rendering = render("postgres-redis", "").await;
    assert_eq!(rendering.object("Deployment", "")["spec"]["replicas"], Value::Null);
    let scaler = &rendering.object("HorizontalPodAutoscaler", "")["spec"];
    assert_eq!(scaler["scaleTargetRef"]["name"], rendering.workload()["metadata"]["name"]);
    assert_eq!(scaler["metrics"][0]["resource"]["name"], "cpu");
    let metric = scaler["metrics"][1]["pods"]["metric"]["name"].as_str().unwrap();
    assert!(is_metric(metric), "{metric}");

    let file = "deploy/helm/masque/files/prometheus-adapter.yaml";
    let adapter = helm(&["read", in_repository(file).to_str().unwrap()], "").await;
    let rule = &adapter["rules"]["custom"][0];
    assert_eq!(rule["name"]["as"], metric);
    assert!(rule["metricsQuery"].as_str().unwrap().contains(&format!("({metric}{{")));
    assert!(rendering.notes.contains(rule["metricsQuery"].as_str().unwrap()));

    let cpu = render("postgres-redis", "autoscaling: { enabled: true }\n").await;
    assert_eq!(cpu.object("HorizontalPodAutoscaler", "")["spec"]["metrics"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn prometheus_finds_the_admin_port_and_calls_its_job_as_the_alerts_do() {
    for (name, scheme) in [("postgres-redis", Value::Null), ("tls-pod", json!("https"))] {
        let rendering = render(name, "").await;
        let monitor = &rendering.object("ServiceMonitor", "")["spec"];
        let service = rendering.object("Service", "-admin");
        assert!(selects(&monitor["selector"]["matchLabels"], &service["metadata"]["labels"]), "{name}");
        let endpoint = &monitor["endpoints"][0];
        assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"], "{name}");
        assert_eq!(endpoint["scheme"], scheme, "{name}");
        assert_eq!(
            endpoint["relabelings"],
            json!([{ "targetLabel": "job", "replacement": "masque" }]),
            "{name}"
        );
    }
    let rules = std::fs::read_to_string(in_repository("deploy/prometheus/rules.yaml")).unwrap();
    assert!(rules.contains("job=\"masque\""));
}

#[tokio::test]
async fn the_ingress_passes_streams_on_at_once_and_waits_for_the_longest_turn() {
    let rendering = render("tls-ingress", "").await;
    let ingress = rendering.object("Ingress", "");
    let annotations = &ingress["metadata"]["annotations"];
    assert_eq!(annotations["nginx.ingress.kubernetes.io/proxy-buffering"], "off");
    assert_eq!(annotations["nginx.org/proxy-buffering"], "False");
    // `turn.timeout` is 5 minutes there, and a turn may wait for 30 s before that.
    assert_eq!(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"], "340");
    assert_eq!(annotations["nginx.org/proxy-read-timeout"], "340s");
    assert_eq!(annotations["nginx.ingress.kubernetes.io/force-ssl-redirect"], "true");
    assert_eq!(annotations["cert-manager.io/cluster-issuer"], "letsencrypt");
    assert_eq!(ingress["spec"]["tls"][0]["secretName"], "masque-tls");

    let alb = "ingress: { enabled: true, controller: alb, hosts: [m.example] }\n";
    let rendering = render("tls-ingress", alb).await;
    let annotations = &rendering.object("Ingress", "")["metadata"]["annotations"];
    let attributes = "alb.ingress.kubernetes.io/load-balancer-attributes";
    assert_eq!(annotations[attributes], "idle_timeout.timeout_seconds=340");
    // Requests and health checks: the second are plain HTTP unless it is said.
    for (name, protocol) in [("tls-ingress", "HTTP"), ("tls-pod", "HTTPS")] {
        let rendering = render(name, alb).await;
        let annotations = &rendering.object("Ingress", "")["metadata"]["annotations"];
        for annotation in ["backend-protocol", "healthcheck-protocol"] {
            assert_eq!(annotations[format!("alb.ingress.kubernetes.io/{annotation}")], protocol, "{name}");
        }
    }

    let encrypted = "ingress: { enabled: true, hosts: [m.example], tlsSecret: masque-tls }\n";
    let rendering = render("tls-pod", encrypted).await;
    let ingress = rendering.object("Ingress", "");
    assert_eq!(ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/backend-protocol"], "HTTPS");
    let backend = &ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"];
    let port = &rendering.object("Service", "chat-masque")["spec"]["ports"][0];
    assert_eq!((&backend["port"]["name"], &port["port"]), (&port["name"], &json!(443)));
}

#[tokio::test]
async fn the_erasure_list_outlives_the_release_unless_the_operator_gives_it_up() {
    let rendering = render("postgres-redis", "").await;
    let claim = rendering.object("PersistentVolumeClaim", "-erasures");
    assert_eq!(claim["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    assert_eq!(claim["spec"]["accessModes"], json!(["ReadWriteMany"]));
    assert!(rendering.configuration().contains("list = \"/var/lib/masque-erasures/erasures.jsonl\""));

    let discarded = render("tls-pod", "").await;
    assert!(!discarded.configuration().contains("[erasure]"));
    assert!(discarded.notes.contains("WARNING: erasures.discard"), "{}", discarded.notes);
}
