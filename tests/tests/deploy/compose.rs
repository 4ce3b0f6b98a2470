//! `deploy/compose.yaml` and `deploy/up`, without an engine.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use masque_tests::deploy::in_repository;
use masque_tests::{Setup, eventually};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::programs::{Ended, program, run};

const SECRETS: [&str; 4] = ["jwt-secret", "postgres-password", "redis-password", "grafana-password"];

/// A copy of `deploy`, with a program `docker` that knows no engine: it notes how it is called, and has docker-compose check
/// the file instead of starting anything.
struct Copy {
    folder: TempDir,
}

impl Copy {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut copy = Command::new("cp");
        copy.arg("-r").arg(in_repository("deploy")).arg(folder.path());
        run(&mut copy).await.expect();
        let copied = Self { folder };
        // Of a developer who uses it.
        for made in ["secrets", "data", ".env"] {
            run(Command::new("rm").arg("-rf").arg(copied.path(made))).await.expect();
        }
        std::fs::create_dir(copied.folder.path().join("bin")).unwrap();
        let compose = program("docker-compose").await;
        copied.docker(&format!(
            "case \"$*\" in\n*' up --detach') shift; exec {} \"$1\" \"$2\" config --quiet ;;\n*' port '*) echo 127.0.0.1:8000 ;;\nesac",
            compose.display()
        ));
        copied
    }

    /// The path of a file of `deploy`.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("deploy").join(name)
    }

    fn docker(&self, script: &str) {
        let (file, calls) = (self.folder.path().join("bin/docker"), self.folder.path().join("calls"));
        let script = format!("#!/bin/sh\necho \"$*\" >>'{}'\n{script}\n", calls.display());
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// How `docker` was called.
    fn calls(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("calls")).unwrap()
    }

    async fn up(&self, words: &[&str]) -> Ended {
        let path = format!("{}:{}", self.folder.path().join("bin").display(), std::env::var("PATH").unwrap());
        run(Command::new(self.path("up")).args(words).env("PATH", path)).await
    }

    fn secret(&self, name: &str) -> String {
        std::fs::read_to_string(self.path("secrets").join(name)).unwrap()
    }
}

/// `docker compose config` of this file.
async fn config(file: &Path, words: &[&str], user: Option<&str>) -> Ended {
    let mut compose = Command::new(program("docker-compose").await);
    compose.arg("--file").arg(file).args(words).env_remove("MASQUE_USER");
    run(compose.envs(user.map(|user| ("MASQUE_USER", user)))).await
}

/// The services of the composition, those of all profiles.
async fn services() -> serde_json::Map<String, Value> {
    let words = ["--profile", "ollama", "config", "--format", "json"];
    let ended = config(&in_repository("deploy/compose.yaml"), &words, Some("1000:1000")).await;
    let composed: Value = serde_json::from_str(&ended.expect()).unwrap();
    composed["services"].as_object().unwrap().clone()
}

/// The networks of the composition, with this value of `MASQUE_NETWORK`.
async fn networks(network: Option<&str>) -> Value {
    let mut compose = Command::new(program("docker-compose").await);
    compose.arg("--file").arg(in_repository("deploy/compose.yaml")).args(["config", "--format", "json"]);
    compose.env("MASQUE_USER", "1000:1000").env_remove("MASQUE_NETWORK");
    let ended = run(compose.envs(network.map(|network| ("MASQUE_NETWORK", network)))).await;
    let composed: Value = serde_json::from_str(&ended.expect()).unwrap();
    composed["networks"].clone()
}

#[tokio::test]
async fn without_what_up_makes_compose_fails_and_says_what_is_missing() {
    let copy = Copy::new().await;
    let file = copy.path("compose.yaml");
    let missing = config(&file, &["config", "--quiet"], None).await;
    assert!(!missing.succeeded, "{missing:?}");
    for word in ["deploy/up", "deploy/.env", "deploy/secrets"] {
        assert!(missing.errors.contains(word), "{missing:?}");
    }
    copy.up(&[]).await.expect();
    config(&file, &["config", "--quiet"], None).await.expect();
}

/// The engine is a stand-in; that it refuses a mount whose source is missing is its documented behaviour.
#[tokio::test]
async fn compose_makes_no_container_without_one_of_its_secrets_and_names_the_missing_file() {
    let copy = Copy::new().await;
    copy.up(&[]).await.expect();
    let socket = copy.folder.path().join("engine.sock");
    let mut engine = Command::new("python3");
    engine.arg(in_repository("tests/tests/deploy/compose/engine.py")).arg(&socket);
    let _engine = engine.kill_on_drop(true).spawn().unwrap();
    eventually("the engine to listen", || async { socket.exists().then_some(()) }).await;
    let create = async |service: &str| {
        let mut compose = Command::new(program("docker-compose").await);
        compose.arg("--file").arg(copy.path("compose.yaml")).args([
            "up",
            "--no-start",
            "--no-build",
            "--no-deps",
            service,
        ]);
        run(compose.env("DOCKER_HOST", format!("unix://{}", socket.display()))).await
    };
    for (service, secret) in [
        ("masque", "jwt-secret"),
        ("migrate", "postgres-password"),
        ("postgres", "postgres-password"),
        ("redis", "redis-password"),
        ("grafana", "grafana-password"),
    ] {
        create(service).await.expect();
        let (file, away) = (copy.path("secrets").join(secret), copy.folder.path().join("away"));
        std::fs::rename(&file, &away).unwrap();
        let refused = create(service).await;
        std::fs::rename(&away, &file).unwrap();
        assert!(
            !refused.succeeded && refused.errors.contains(file.to_str().unwrap()),
            "{service}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn up_makes_secrets_for_one_user_alone_and_overwrites_none() {
    let copy = Copy::new().await;
    std::fs::create_dir(copy.path("secrets")).unwrap();
    std::fs::write(copy.path("secrets/redis-password"), "chosen by hand\n").unwrap();
    let shown = copy.up(&[]).await.expect();
    let made = SECRETS.map(|name| copy.secret(name));
    for (name, secret) in SECRETS.iter().zip(&made) {
        let mode = std::fs::metadata(copy.path("secrets").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        assert!(!shown.contains(secret.trim()), "{name} is shown");
        assert_eq!(
            made.iter().filter(|other| *other == secret).count(),
            1,
            "{name} is not a secret of its own"
        );
        let is_random = secret.len() == 65 && secret.trim().bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_random || *name == "redis-password", "{name}: {secret}");
    }
    assert_eq!(copy.secret("redis-password"), "chosen by hand\n");
    copy.up(&["--profile", "ollama"]).await.expect();
    assert_eq!(SECRETS.map(|name| copy.secret(name)), made);
    assert!(
        copy.calls().contains("compose --file compose.yaml --profile ollama up --detach\n"),
        "{}",
        copy.calls()
    );
}

#[tokio::test]
async fn up_leaves_the_lines_of_an_env_file_whose_last_one_has_no_end() {
    let copy = Copy::new().await;
    std::fs::write(copy.path(".env"), "MASQUE_IMAGE=masque:mine\nMASQUE_PORT=9999").unwrap();
    copy.up(&[]).await.expect();
    let written = std::fs::read_to_string(copy.path(".env")).unwrap();
    let (before, user) = written.split_once("MASQUE_USER=").unwrap();
    assert_eq!(before, "MASQUE_IMAGE=masque:mine\nMASQUE_PORT=9999\n");
    assert!(user.ends_with('\n') && user.lines().count() == 1, "{written}");
    copy.up(&[]).await.expect();
    assert_eq!(std::fs::read_to_string(copy.path(".env")).unwrap(), written);
}

#[tokio::test]
async fn up_stops_at_an_empty_secret_and_where_docker_has_no_compose() {
    let copy = Copy::new().await;
    std::fs::create_dir(copy.path("secrets")).unwrap();
    std::fs::write(copy.path("secrets/redis-password"), "").unwrap();
    let stopped = copy.up(&[]).await;
    assert!(!stopped.succeeded && stopped.errors.contains("deploy/secrets/redis-password"), "{stopped:?}");
    assert!(!copy.calls().contains("up --detach"), "{}", copy.calls());

    let copy = Copy::new().await;
    copy.docker("exit 1");
    let stopped = copy.up(&[]).await;
    assert!(!stopped.succeeded && stopped.errors.contains("docker-compose-plugin"), "{stopped:?}");
    assert!(!copy.path("secrets").exists());
}

#[tokio::test]
async fn up_stops_at_a_file_that_a_container_could_not_read() {
    let copy = Copy::new().await;
    for (name, hidden, readable) in [
        ("compose/postgres/10-masque.sh", 0o750, 0o755),
        ("compose/postgres", 0o700, 0o755),
        ("prometheus/rules.yaml", 0o640, 0o644),
        ("alertmanager", 0o754, 0o755),
    ] {
        let set = |mode| std::fs::set_permissions(copy.path(name), PermissionsExt::from_mode(mode)).unwrap();
        set(hidden);
        let stopped = copy.up(&[]).await;
        let expected = format!("can't read deploy/{name}. In the folder deploy: chmod -R o+rX ");
        assert!(!stopped.succeeded && stopped.errors.contains(&expected), "{stopped:?}");
        set(readable);
    }
    assert!(!copy.calls().contains("up --detach"), "{}", copy.calls());
    copy.up(&[]).await.expect();
}

#[test]
fn what_up_makes_is_in_no_commit_and_in_no_image() {
    for file in [".gitignore", ".dockerignore"] {
        let ignored = std::fs::read_to_string(in_repository(file)).unwrap();
        for made in ["deploy/.env", "deploy/data", "deploy/secrets"] {
            assert!(
                ignored.lines().any(|line| line.trim_start_matches('/') == made),
                "{made} is not in {file}"
            );
        }
    }
}

#[tokio::test]
async fn only_the_port_of_the_host_is_published_and_for_this_machine_alone() {
    for (name, service) in services().await {
        let ports = service["ports"].as_array().cloned().unwrap_or_default();
        if name == "masque" {
            assert_eq!((ports.len(), &ports[0]["host_ip"]), (1, &Value::from("127.0.0.1")), "{ports:?}");
        } else {
            assert!(ports.is_empty(), "{name}: {ports:?}");
        }
        assert_ne!(service["network_mode"], "host", "{name}");
    }
}

#[tokio::test]
async fn every_service_is_confined_and_watched_and_has_a_pinned_version() {
    for (name, service) in services().await {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{name}");
        assert!(service["privileged"].is_null(), "{name}");
        assert!(service["healthcheck"]["test"].is_array() || name == "migrate", "{name} has no health check");
        let image = service["image"].as_str().unwrap();
        let (program, tag) = image.split_once(':').unwrap();
        // PostgreSQL has two numbers.
        let parts = if program == "postgres" { 2 } else { 3 };
        let version = tag.trim_start_matches('v').split('-').next().unwrap();
        let numbers = version.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
        assert!(image == "masque:local" || numbers == parts, "{name}: {image} is no exact version");
    }
}

/// The volume that the image declares belongs to the image's user, and the containers have another one.
#[tokio::test]
async fn every_container_of_the_host_has_a_data_folder_of_its_user() {
    let services = services().await;
    let own: Vec<_> = services.iter().filter(|(_, service)| service["image"] == "masque:local").collect();
    assert_eq!(own.len(), 2);
    for (name, service) in own {
        let mut volumes = service["volumes"].as_array().unwrap().iter();
        let data =
            volumes.find(|volume| volume["target"] == "/var/lib/masque").unwrap_or_else(|| panic!("{name}"));
        let source = data["source"].as_str().unwrap();
        assert!(data["type"] == "bind" && source.ends_with("/deploy/data"), "{name}: {data}");
    }
}

#[tokio::test]
async fn no_secret_is_a_variable_or_in_the_repository() {
    for (name, service) in services().await {
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let is_secret = ["PASSWORD", "SECRET", "KEY"].iter().any(|word| variable.contains(word));
            let value = value.as_str().unwrap();
            assert!(!is_secret || value.starts_with("/run/secrets/"), "{name}: {variable}={value}");
        }
        for secret in service["secrets"].as_array().into_iter().flatten() {
            assert!(
                SECRETS.contains(&secret["source"].as_str().unwrap()),
                "deploy/up does not make {secret}"
            );
        }
    }
}

#[tokio::test]
async fn the_configuration_and_the_variables_of_the_host_are_valid_in_production() {
    let (services, copy) = (services().await, Copy::new().await);
    copy.up(&[]).await.expect();
    let here = |text: &str| text.replace("/run/secrets", copy.path("secrets").to_str().unwrap());
    let file = std::fs::read_to_string(in_repository("deploy/compose/masque/masque.toml")).unwrap();
    let mut setup = Setup::file(&here(&file)).environment("MASQUE_LISTEN", "0.0.0.0:8000");
    for (name, value) in services["masque"]["environment"].as_object().unwrap() {
        setup = setup.environment(name, &here(value.as_str().unwrap()));
    }
    let checked = setup.check().await;
    assert!(checked.status.success(), "{}", checked.text);
    for part in ["state       PostgreSQL", "shared      Redis", "tokens of this host", "companion   local: "]
    {
        assert!(checked.text.contains(part), "{part} is not in:\n{}", checked.text);
    }
    assert!(!checked.text.contains("unsafe"), "{}", checked.text);
    // The proxy of this machine has the address of the gateway.
    let networks = networks(None).await;
    let gateway = networks["clients"]["ipam"]["config"][0]["gateway"].as_str().unwrap();
    assert!(file.contains(&format!("trusted_proxies = [\"{gateway}/32\"]")), "{gateway}");
    assert!(file.contains(&format!("networks = [{}]", networks["clients"]["ipam"]["config"][0]["subnet"])));
}

#[tokio::test]
async fn all_addresses_move_with_one_variable_and_up_names_the_file_that_was_forgotten() {
    let moved = networks(Some("10.99")).await;
    for (name, number) in [("clients", 43), ("monitoring", 44)] {
        let config = &moved[name]["ipam"]["config"][0];
        assert_eq!(config["subnet"], format!("10.99.{number}.0/24"), "{name}");
        assert_eq!(config["gateway"], format!("10.99.{number}.1"), "{name}");
    }
    let text = std::fs::read_to_string(in_repository("deploy/compose.yaml")).unwrap();
    let fixed = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let fixed: Vec<_> =
        fixed.filter(|line| line.replace("${MASQUE_NETWORK:-172.28}", "").contains("172.")).collect();
    assert!(fixed.is_empty(), "{fixed:?}");

    let copy = Copy::new().await;
    std::fs::write(copy.path(".env"), "MASQUE_NETWORK=10.99\n").unwrap();
    let file = copy.path("compose/masque/masque.toml");
    let mut configuration = std::fs::read_to_string(&file).unwrap();
    for address in ["172.28.43.1/32", "172.28.43.0/24"] {
        let stopped = copy.up(&[]).await;
        assert!(!stopped.succeeded && stopped.errors.contains(address), "{stopped:?}");
        assert!(stopped.errors.contains("deploy/compose/masque/masque.toml"), "{stopped:?}");
        assert!(!copy.calls().contains("up --detach"), "{}", copy.calls());
        configuration = configuration.replace(address, &address.replace("172.28", "10.99"));
        std::fs::write(&file, &configuration).unwrap();
    }
    let shown = copy.up(&[]).await.expect();
    assert!(shown.contains("http://10.99.44.10:3000"), "{shown}");
}

#[tokio::test]
async fn docker_gives_the_host_as_long_to_stop_as_it_takes() {
    let file = std::fs::read_to_string(in_repository("deploy/compose/masque/masque.toml")).unwrap();
    // The default of `drain.delay`, `drain.timeout` of the file, and 8 s at most after both.
    assert!(file.contains("timeout = \"2m\""));
    assert_eq!(services().await["masque"]["stop_grace_period"], "2m15s");
}

#[tokio::test]
async fn prometheus_accepts_its_configuration_with_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["compose/prometheus.yaml", "prometheus/rules.yaml"] {
        let name = Path::new(file).file_name().unwrap();
        std::fs::copy(in_repository("deploy").join(file), folder.path().join(name)).unwrap();
    }
    let mut promtool = Command::new("promtool");
    run(promtool.args(["check", "config"]).arg(folder.path().join("prometheus.yaml"))).await.expect();
}
