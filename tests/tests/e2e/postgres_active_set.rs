//! The active set of hosts that share a PostgreSQL database.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use masque_store_postgres::testing::{TestDatabase, TestServer};
use masque_tests::{Host, MockModel, Setup, eventually};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::hot_reload::{SPEAKER, build, digest, plugin_file, replace_by_rename, status, with_plugin};

fn on(database: &TestDatabase) -> Setup {
    Setup::defaults().environment("DATABASE_URL", &database.url)
}

/// The file of a host that publishes the persona `speaker` of its plugins folder, with more plugins.
pub(crate) fn speaker(model: &MockModel, revision: u32, more: &str) -> String {
    format!("[active_set]\nrevision = {revision}\n{SPEAKER}{}\n{more}", model.plugin("mock", ""))
}

/// The file of a host that only has the credential of the model.
pub(crate) fn credentials(model: &MockModel) -> String {
    let plugin = model.plugin("mock", "");
    plugin[plugin.find("[credentials.").unwrap()..].to_owned()
}

/// A host that has published the first build of the speaker as revision 1.
async fn publisher(database: &TestDatabase, model: &MockModel) -> Host {
    with_plugin(on(database).and(&speaker(model, 1, "")), "speaker", &build(1)).start().await
}

pub(crate) fn rewrite(host: &Host, file: &str) {
    replace_by_rename(&host.folder().join("masque.toml"), file.as_bytes());
}

pub(crate) fn digest_of(component: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(component))
}

fn sql(database: &TestDatabase, statement: &str) -> String {
    TestServer::shared().psql(&database.name, statement)
}

/// Waits until the database counts this many hosts as alive: a generation waits for no other.
async fn live(database: &TestDatabase, hosts: usize) {
    eventually("the hosts to be alive", || async {
        let counted = sql(
            database,
            "SELECT count(*) FROM hosts h JOIN set_hosts s ON s.host = h.id WHERE h.alive_until > masque_now_v1()",
        );
        (counted == hosts.to_string()).then_some(())
    })
    .await;
}

/// How long it may take on this machine to see what the hosts use: as long as ten looks, since a busy machine is not equally
/// busy all the time.
async fn time_to_look(hosts: [&Host; 2], database: &TestDatabase) -> Duration {
    let begun = Instant::now();
    for _ in 0..5 {
        for host in hosts {
            status(host).await;
        }
        sql(database, "SELECT 1");
    }
    2 * begun.elapsed()
}

async fn generation(host: &Host, number: u64) -> Value {
    eventually(&format!("generation {number}"), || async {
        let status = status(host).await;
        (status["generation"] == number).then_some(status)
    })
    .await
}

#[tokio::test]
async fn a_plugin_that_one_host_publishes_serves_on_all_within_a_second_of_its_activation() {
    let (database, model) = (TestServer::shared().migrated_database().await, MockModel::start().await);
    let first = publisher(&database, &model).await;
    let second = on(&database).and(&credentials(&model)).start().await;
    for host in [&first, &second] {
        let status = generation(host, 1).await;
        assert_eq!(digest(&status, "speaker"), digest_of(&build(1)));
        host.client().say("Hello.").await;
    }
    live(&database, 2).await;
    let slack = time_to_look([&first, &second], &database).await;

    // Without a higher revision a changed component is in effect nowhere, and the host says what to do.
    replace_by_rename(&plugin_file(&first, "speaker"), &build(2));
    first.logged("raise `revision` in [active_set] over 1").await;
    rewrite(&first, &speaker(&model, 2, ""));
    let statuses = [generation(&first, 2).await, generation(&second, 2).await];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let activated: u128 =
        sql(&database, "SELECT decided_at FROM generations WHERE number = 2").parse().unwrap();
    let longest = 1000 + slack.as_millis();
    assert!(now < activated + longest, "{} ms after the activation, of {longest}", now - activated);
    for (host, status) in [&first, &second].into_iter().zip(&statuses) {
        assert_eq!(digest(status, "speaker"), digest_of(&build(2)));
        assert_eq!(status["reload"]["outcome"], "applied", "{status}");
        host.client().say("Hello.").await;
    }
    assert!(!plugin_file(&second, "speaker").exists());
    let actions = sql(&database, "SELECT action || ' ' || target FROM audit ORDER BY number");
    for entry in ["active_set.publish generation:2", "active_set.activate generation:2"] {
        assert!(actions.contains(entry), "{actions}");
    }
}

#[tokio::test]
async fn a_generation_that_a_host_can_not_prepare_is_refused_with_who_and_why() {
    let (database, model) = (TestServer::shared().migrated_database().await, MockModel::start().await);
    let first = publisher(&database, &model).await;
    let second = on(&database).and(&credentials(&model)).start().await;
    live(&database, 2).await;

    let hasty = speaker(&model, 2, &model.plugin("extra", ""));
    rewrite(&first, &hasty.replacen("[active_set]\n", "[active_set]\nprepare_timeout = \"3s\"\n", 1));
    let reason = "this host has no credential `extra`";
    for host in [&first, &second] {
        let status = eventually("the refusal", || async {
            let status = status(host).await;
            (status["publication"]["state"] == "refused").then_some(status)
        })
        .await;
        let problems = status["publication"]["problems"].to_string();
        assert!(problems.contains(reason), "{status}");
        assert_eq!(status["publication"]["problems"].as_array().unwrap().len(), 1, "{status}");
        assert_eq!((&status["generation"], &status["obstacle"]), (&json!(1), &json!(null)), "{status}");
        host.logged("a generation of the active set is refused").await;
        host.client().get("/readyz").send().await.expect(200);
        host.client().say("Hello.").await;
    }
    let refused =
        sql(&database, "SELECT target || ' ' || detail FROM audit WHERE action = 'active_set.refuse'");
    assert!(refused.contains("generation:2") && refused.contains(reason), "{refused}");

    // Corrected on the host that lacked it, and published again under the next revision.
    let extra = model.plugin("extra", "");
    let extra = &extra[extra.find("[credentials.").unwrap()..];
    rewrite(&second, &format!("{}\n{extra}", credentials(&model)));
    rewrite(&first, &speaker(&model, 3, &model.plugin("extra", "")));
    for host in [&first, &second] {
        let status = generation(host, 3).await;
        assert_eq!(status["publication"], json!(null), "{status}");
    }
}

#[tokio::test]
async fn a_host_that_the_database_has_forgotten_joins_again() {
    let (database, model) = (TestServer::shared().migrated_database().await, MockModel::start().await);
    let host = publisher(&database, &model).await;
    live(&database, 1).await;
    // As after a day in which the host could not reach the database.
    let forgotten =
        sql(&database, "WITH gone AS (DELETE FROM set_hosts RETURNING 1) SELECT count(*) FROM gone");
    assert_eq!(forgotten, "1");
    live(&database, 1).await;
    host.client().say("Hello.").await;
}

#[tokio::test]
async fn a_host_without_the_files_loads_what_the_others_have_from_the_database() {
    let (database, model) = (TestServer::shared().migrated_database().await, MockModel::start().await);
    let mut first = publisher(&database, &model).await;
    first.kill().await;
    let other = on(&database).and(&credentials(&model)).start().await;
    let status = generation(&other, 1).await;
    assert_eq!(digest(&status, "speaker"), digest_of(&build(1)));
    other.client().say("Hello.").await;
    let kept: Vec<_> = std::fs::read_dir(other.data().join("components")).unwrap().collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    // The host that comes back has what it published, and says nothing of its own file.
    first.restart().await;
    let status = generation(&first, 1).await;
    assert_eq!((&status["reload"], &status["publication"]), (&json!(null), &json!(null)), "{status}");
}

#[tokio::test]
async fn the_same_revision_with_another_content_is_an_error_and_not_in_effect() {
    let (database, model) = (TestServer::shared().migrated_database().await, MockModel::start().await);
    let _first = publisher(&database, &model).await;
    let other = with_plugin(on(&database).and(&speaker(&model, 1, "")), "speaker", &build(2)).start().await;
    other.logged("its companions and plugins are not those that were published as revision 1").await;
    let status = generation(&other, 1).await;
    assert_eq!(digest(&status, "speaker"), digest_of(&build(1)));
}

#[tokio::test]
async fn no_secret_of_a_configuration_is_in_the_database() {
    let (database, model) = (TestServer::shared().migrated_database().await, MockModel::start().await);
    let more = r#"
[plugins.other]
source = "builtin:openai"
settings = { base_url = "http://127.0.0.1:9/v1", model = "m" }
grants = { http = ["http://127.0.0.1:9"], credentials = ["variable", "file"] }

[credentials.variable]
origin = "http://127.0.0.1:9"
header = "authorization"
value = "Bearer ${PLANTED}"

[credentials.file]
origin = "http://127.0.0.1:9"
header = "x-key"
value_file = "planted"
"#;
    let setup = on(&database).and(&speaker(&model, 1, more)).environment("PLANTED", "sk-from-a-variable");
    let host = with_plugin(setup.beside("planted", b"sk-from-a-file"), "speaker", &build(1)).start().await;
    host.client().say("Hello.").await;

    let mut rows = String::new();
    let tables = sql(&database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
    for table in tables.lines() {
        rows.push_str(&sql(&database, &format!("SELECT t::text FROM {table} t")));
    }
    assert!(rows.contains("127.0.0.1:9"), "the document is among the rows");
    for secret in [model.key(), "sk-from-a-variable", "sk-from-a-file"] {
        // Bytes are shown as hexadecimal numbers.
        let mut bytes = String::new();
        secret.bytes().for_each(|byte| write!(bytes, "{byte:02x}").unwrap());
        assert!(!rows.contains(secret) && !rows.contains(&bytes), "{secret} is in the database");
    }
}
