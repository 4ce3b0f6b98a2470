//! The configuration and the environment that the chart gives a host pass `masque check --production`.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use masque_tests::{Authority, SECRET, Setup, fixture};
use serde_json::Value;

use super::rendering::{ALL, Rendering, render};

/// The ConfigMaps and Secrets of a cluster: their entries, by name.
type Entries = HashMap<String, HashMap<String, Vec<u8>>>;

/// What the values in `ci` take for granted.
fn existing() -> Entries {
    let authority = Authority::new();
    let issued = authority.issue();
    let url = "postgres://masque:aN9xQv2LrT7bK4mZ8sW1@server.db/masque?sslmode=verify-full";
    let component = std::fs::read(fixture("counts-exchanges")).unwrap();
    let table: [(&str, &str, &[u8]); 9] = [
        ("masque-auth", "jwt-secret", SECRET.as_bytes()),
        ("masque-auth", "jwt", SECRET.as_bytes()),
        ("masque-database", "uri", url.as_bytes()),
        ("masque-database", "database-url", url.as_bytes()),
        ("masque-redis", "redis-url", b"rediss://masque:aN9xQv2LrT7bK4mZ8sW1@cache.db"),
        ("masque-model", "header", b"Bearer sk-aN9xQv2LrT7bK4mZ8sW1"),
        ("masque-tls", "tls.crt", issued.certificate.as_bytes()),
        ("masque-tls", "tls.key", issued.key.as_bytes()),
        ("masque-plugins", "hello.wasm", &component),
    ];
    let mut entries = Entries::from([("portraits".to_owned(), HashMap::new())]);
    for (name, key, content) in table {
        entries.entry(name.to_owned()).or_default().insert(key.to_owned(), content.to_vec());
    }
    entries
}

/// What is in the cluster with this release.
fn entries(rendering: &Rendering) -> Entries {
    let mut entries = existing();
    for object in &rendering.objects {
        let data = object["data"].as_object().or_else(|| object["stringData"].as_object());
        let (Some(name), Some(data)) = (object["metadata"]["name"].as_str(), data) else { continue };
        // A ConfigMap and a Secret of the chart may have the same name.
        let entries = entries.entry(name.to_owned()).or_default();
        entries.extend(data.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().into())));
    }
    entries
}

/// Writes what a source of a volume puts into a folder.
fn fill(folder: &Path, source: &Value, mode: u64, entries: &Entries) {
    let name = source["name"].as_str().or_else(|| source["secretName"].as_str()).unwrap();
    let entries = entries.get(name).unwrap_or_else(|| panic!("there is no {name}"));
    let files: Vec<_> = match source["items"].as_array() {
        Some(items) => {
            let text = |item: &Value, key: &str| item[key].as_str().unwrap().to_owned();
            items.iter().map(|item| (text(item, "key"), text(item, "path"))).collect()
        }
        None => entries.keys().map(|key| (key.clone(), key.clone())).collect(),
    };
    for (key, path) in files {
        let content = entries.get(&key).unwrap_or_else(|| panic!("{name} has no {key}"));
        let file = folder.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, content).unwrap();
        let mode = std::fs::Permissions::from_mode(mode.try_into().unwrap());
        std::fs::set_permissions(&file, mode).unwrap();
    }
}

/// Makes the file system of a host's pod below this folder. The data folder of the pod before stays, with what is compiled.
fn mount(root: &Path, rendering: &Rendering, entries: &Entries) {
    let pod = &rendering.workload()["spec"]["template"]["spec"];
    for mount in rendering.container()["volumeMounts"].as_array().unwrap() {
        let path = mount["mountPath"].as_str().unwrap();
        let folder = root.join(path.trim_start_matches('/'));
        if path != "/var/lib/masque" && folder.exists() {
            std::fs::remove_dir_all(&folder).unwrap();
        }
        std::fs::create_dir_all(&folder).unwrap();
        let mut volumes = pod["volumes"].as_array().unwrap().iter();
        let Some(volume) = volumes.find(|volume| volume["name"] == mount["name"]) else {
            let claims = rendering.workload()["spec"]["volumeClaimTemplates"].as_array().unwrap();
            assert_eq!(claims[0]["metadata"]["name"], mount["name"]);
            continue;
        };
        let projected = volume["projected"]["sources"].as_array().into_iter().flatten();
        for source in projected.chain([volume]) {
            for content in [&source["configMap"], &source["secret"]] {
                if content.is_object() {
                    let mode =
                        content["defaultMode"].as_u64().or(volume["projected"]["defaultMode"].as_u64());
                    fill(&folder, content, mode.unwrap(), entries);
                }
            }
        }
    }
}

/// A setup with the environment and the files of a host's pod, below this folder.
fn pod(root: &Path, rendering: &Rendering) -> Setup {
    let mut entries = entries(rendering);
    // The configuration names files from the root of the container.
    let configuration = entries.get_mut("chat-masque").unwrap().get_mut("masque.toml").unwrap();
    let moved = String::from_utf8(configuration.clone()).unwrap();
    let moved = moved.replace("\"/", &format!("\"{}/", root.display()));
    *configuration = moved.into_bytes();
    mount(root, rendering, &entries);

    let mut setup = Setup::defaults();
    for variable in rendering.container()["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        let value = match variable["value"].as_str() {
            Some(path) if path.starts_with('/') => format!("{}{path}", root.display()),
            Some(value) => value.to_owned(),
            None => {
                let reference = &variable["valueFrom"]["secretKeyRef"];
                let secret = &entries[reference["name"].as_str().unwrap()];
                String::from_utf8(secret[reference["key"].as_str().unwrap()].clone()).unwrap()
            }
        };
        setup = setup.environment(name, &value);
    }
    setup
}

#[tokio::test]
async fn a_host_with_the_configuration_and_environment_of_each_rendering_would_start() {
    let root = tempfile::tempdir().unwrap();
    for name in ALL {
        let plugins = root.path().join("var/lib/masque/plugins");
        if plugins.exists() {
            std::fs::remove_dir_all(plugins).unwrap();
        }
        let rendering = render(name, "").await;
        let result = pod(root.path(), &rendering).run(&["check", "--production"]).await;
        assert!(result.status.success(), "{name}: {}", result.text);
    }
}

#[tokio::test]
async fn a_setting_that_the_host_does_not_have_is_found_in_the_rendered_configuration() {
    let root = tempfile::tempdir().unwrap();
    let more = "config: { server: { trusted_proxies: [10.42.0.0/16], max_connection: 10 }, turn: { max_concurrent: 0.5 } }\n";
    let rendering = render("sqlite", more).await;
    let result = pod(root.path(), &rendering).run(&["check", "--production"]).await;
    assert!(!result.status.success());
    for words in ["unknown key `max_connection`", "`max_concurrent` in [turn] must be"] {
        assert!(result.text.contains(words), "{}", result.text);
    }
}
