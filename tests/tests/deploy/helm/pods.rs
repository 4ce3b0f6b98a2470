//! What holds for the pods of every rendering: the restricted standard of pod security, probes, and the time to stop.

use serde_json::{Value, json};

use super::rendering::{ALL, Rendering, render};

/// Each pod of a rendering, with the kind of its owner.
fn pods(rendering: &Rendering) -> Vec<(&str, &Value)> {
    let owners = ["Deployment", "StatefulSet", "Job", "DaemonSet", "CronJob", "Pod", "ReplicaSet"];
    let of_owner = |object: &&Value| owners.contains(&object["kind"].as_str().unwrap());
    let owners = rendering.objects.iter().filter(of_owner);
    owners.map(|owner| (owner["kind"].as_str().unwrap(), &owner["spec"]["template"]["spec"])).collect()
}

/// The violations of the restricted standard, and of what this chart promises besides: no token, a read-only root, bounded
/// memory.
fn violations(pod: &Value) -> Vec<String> {
    let mut expected = vec![
        (pod, "/automountServiceAccountToken", json!(false)),
        (pod, "/enableServiceLinks", json!(false)),
        (pod, "/securityContext/runAsNonRoot", json!(true)),
        (pod, "/securityContext/seccompProfile/type", json!("RuntimeDefault")),
        (pod, "/securityContext/runAsUser", json!(10001)),
    ];
    let never = ["/hostNetwork", "/hostPID", "/hostIPC", "/shareProcessNamespace", "/initContainers"];
    expected.extend(never.map(|path| (pod, path, Value::Null)));
    for container in pod["containers"].as_array().unwrap() {
        expected.extend([
            (container, "/securityContext/allowPrivilegeEscalation", json!(false)),
            (container, "/securityContext/privileged", Value::Null),
            (container, "/securityContext/readOnlyRootFilesystem", json!(true)),
            (container, "/securityContext/capabilities", json!({ "drop": ["ALL"] })),
        ]);
        let ports = container["ports"].as_array().into_iter().flatten();
        expected.extend(ports.map(|port| (port, "/hostPort", Value::Null)));
    }
    let mut found = Vec::new();
    for (of, path, expected) in expected {
        let actual = of.pointer(path).unwrap_or(&Value::Null);
        if *actual != expected {
            found.push(format!("{path} is {actual}, not {expected}"));
        }
    }
    for container in pod["containers"].as_array().unwrap() {
        if container.pointer("/resources/limits/memory").is_none() {
            found.push("the memory has no limit".to_owned());
        }
    }
    let allowed = ["projected", "secret", "configMap", "emptyDir", "persistentVolumeClaim"];
    for volume in pod["volumes"].as_array().unwrap() {
        let source = volume.as_object().unwrap().keys().find(|key| *key != "name").unwrap();
        if !allowed.contains(&source.as_str()) {
            found.push(format!("a volume is a {source}"));
        }
    }
    found
}

#[tokio::test]
async fn every_pod_keeps_the_restricted_standard() {
    for name in ALL {
        let rendering = render(name, "").await;
        let pods = pods(&rendering);
        let has_job = rendering.find("Deployment", "").is_some();
        assert_eq!(pods.len(), if has_job { 2 } else { 1 }, "{name}");
        for (kind, pod) in pods {
            assert_eq!(violations(pod), Vec::<String>::new(), "{name}: {kind}");
        }
    }
}

#[tokio::test]
async fn a_pod_that_breaks_the_restricted_standard_is_found() {
    let rendering = render("sqlite", "").await;
    let breaks = [
        ("/hostNetwork", json!(true)),
        ("/securityContext/runAsUser", json!(0)),
        ("/securityContext/seccompProfile/type", json!("Unconfined")),
        ("/containers/0/securityContext/capabilities", json!({ "drop": ["ALL"], "add": ["SYS_ADMIN"] })),
        ("/containers/0/securityContext/readOnlyRootFilesystem", json!(false)),
        ("/volumes/0", json!({ "name": "root", "hostPath": { "path": "/" } })),
    ];
    for (path, value) in breaks {
        let mut pod = pods(&rendering)[0].1.clone();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let parent = pod.pointer_mut(parent).unwrap();
        match key.parse::<usize>() {
            Ok(index) => parent[index] = value,
            Err(_) => parent[key] = value,
        }
        assert_eq!(violations(&pod).len(), 1, "{path}");
    }
}

#[tokio::test]
async fn probes_ask_the_ports_that_the_configuration_opens() {
    for name in ALL {
        let rendering = render(name, "").await;
        let container = rendering.container();
        let port = |wanted: &str| {
            let mut ports = container["ports"].as_array().unwrap().iter();
            ports.find(|port| port["name"] == wanted).unwrap()["containerPort"].clone()
        };
        let configuration = rendering.configuration();
        for (section, wanted) in [("server", "http"), ("admin", "admin")] {
            let (_, rest) = configuration.split_once(&format!("[{section}]\n")).unwrap();
            let lines = rest.split("\n[").next().unwrap();
            let listen = format!("listen = \"0.0.0.0:{}\"", port(wanted));
            assert!(lines.lines().any(|line| line == listen), "{name}: {listen} is not in {lines}");
        }
        let scheme = if name == "tls-pod" { "HTTPS" } else { "HTTP" };
        // The admin port has connections of its own, so a host whose main port is full is not killed.
        let probes = [
            ("startupProbe", "/livez", "admin"),
            ("livenessProbe", "/livez", "admin"),
            ("readinessProbe", "/readyz", "http"),
        ];
        for (probe, path, port) in probes {
            let expected = json!({ "path": path, "port": port, "scheme": scheme });
            assert_eq!(container[probe]["httpGet"], expected, "{name}: {probe}");
        }
    }
}

#[tokio::test]
async fn kubernetes_waits_longer_than_a_stop_takes() {
    // 8 s is what a stop takes after both, as docs/operators.md says.
    let table = [
        ("5s", "15s", 20.0),
        ("1500ms", "2m", 121.5),
        ("0s", "1ms", 0.001),
        ("1m", "1h", 3660.0),
        ("999ms", "999ms", 1.998),
    ];
    for (delay, timeout, seconds) in table {
        for (margin, least) in [("", 5), ("terminationMargin: 2\n", 2)] {
            let drain = format!(
                "config: {{ drain: {{ delay: {delay}, timeout: {timeout} }}, server: {{ trusted_proxies: [10.42.0.0/16] }} }}\n{margin}"
            );
            let rendering = render("sqlite", &drain).await;
            let grace = &rendering.workload()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
            let needed = seconds + 8.0 + f64::from(least);
            let grace = grace.as_f64().unwrap();
            assert!(grace >= needed && grace < needed + 2.0, "{delay} {timeout}: {grace}, not {needed}");
            assert!(rendering.configuration().contains(&format!("delay = \"{delay}\"")));
        }
    }
}

#[tokio::test]
async fn pods_start_again_only_for_settings_that_hosts_read_at_their_start() {
    let digest = async |config: &str| {
        let config = format!("config: {{ server: {{ trusted_proxies: [10.42.0.0/16] }}, {config} }}\n");
        let rendering = render("existing-secrets", &config).await;
        let annotations = &rendering.workload()["spec"]["template"]["metadata"]["annotations"];
        annotations["masque/restart"].as_str().unwrap().to_owned()
    };
    let before = digest("jobs: { max_concurrent: 4 }").await;
    let same = [
        "jobs: { max_concurrent: 4 }, log: { level: debug }",
        "jobs: { max_concurrent: 4 }, companions: { ada: { persona: elara, models: [offline] } }",
        "jobs: { max_concurrent: 4 }, plugins: { offline: { source: 'builtin:offline' } }",
    ];
    for config in same {
        assert_eq!(digest(config).await, before, "{config}");
    }
    for config in ["jobs: { max_concurrent: 5 }", "jobs: { max_concurrent: 4 }, log: { format: text }"] {
        assert_ne!(digest(config).await, before, "{config}");
    }
}
