//! The examples of the deployment guide for Kubernetes: the chart accepts the values, and what the backup needs is there.

use masque_tests::deploy::in_repository;
use serde_json::{Value, json};

use super::rendering::{chart, helm, try_render};
use super::schemas::problems_of_kubernetes;

/// The first block of YAML after these words.
fn block(after: &str) -> String {
    let guide = std::fs::read_to_string(in_repository("docs/deployment.md")).unwrap();
    let (_, rest) = guide.split_once(after).unwrap();
    let (_, rest) = rest.split_once("```yaml\n").unwrap();
    rest.split("```").next().unwrap().to_owned()
}

/// The objects of a text in YAML.
async fn objects(text: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("object.yaml");
    let mut objects = Vec::new();
    for each in text.split("\n---\n") {
        std::fs::write(&file, each).unwrap();
        objects.push(helm(&["read", file.to_str().unwrap()], "").await);
    }
    objects
}

#[tokio::test]
async fn the_values_of_the_guide_are_enough_and_only_the_ingress_reaches_the_hosts() {
    let rendering = try_render(&chart(), &[block("and `values.yaml`:")]).await.remove(0);
    let rendering = rendering.unwrap_or_else(|refusal| panic!("{refusal}"));
    let claim = rendering.object("PersistentVolumeClaim", "-erasures");
    assert_eq!(claim["spec"]["accessModes"], json!(["ReadWriteMany"]));
    let policies = serde_json::to_string(&rendering.objects).unwrap();
    assert!(policies.contains("ingress-nginx"), "{policies}");
}

#[tokio::test]
async fn kubernetes_accepts_the_backup_of_the_guide_and_its_job_reads_what_the_hosts_write() {
    let objects = objects(&block("and `backup.yaml`.")).await;
    let [claim, job] = objects.as_slice() else { panic!("{objects:?}") };
    assert_eq!(problems_of_kubernetes(&[claim, job]).await, Vec::<Value>::new());
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let claims: Vec<_> = pod["volumes"].as_array().unwrap().iter().collect();
    let names: Vec<_> =
        claims.iter().filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str()).collect();
    // The second is that of the chart, for a release called `masque`.
    assert_eq!(names, [claim["metadata"]["name"].as_str().unwrap(), "masque-erasures"]);

    let values = helm(&["read", chart().join("values.yaml").to_str().unwrap()], "").await;
    for (key, value) in [("runAsUser", "runAsUser"), ("fsGroup", "runAsGroup")] {
        assert_eq!(pod["securityContext"][key], values[value], "{key}: the hosts alone can read their list");
    }
}
