//! A conversation through an independent implementation of the OpenAI API: the LiteLLM proxy, in its own Python environment.

use std::path::Path;
use std::process::Stdio;

use masque_tests::{Setup, eventually, full, python, skipped};
use tokio::process::{Child, Command};

/// The tested release.
const PACKAGE: &str = "litellm[proxy]==1.106.2";
const KEY: &str = "sk-masque-end-to-end";

#[tokio::test]
async fn a_conversation_goes_through_the_litellm_proxy_streaming_and_not() {
    if !full() {
        skipped(
            "a_conversation_goes_through_the_litellm_proxy",
            "it is one of the long tests: `cargo xtask test --full`",
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (_proxy, port) = start_proxy(folder.path()).await;

    for stream in [true, false] {
        let toml = format!(
            r#"
[companions.elara]
persona = "elara"
memory = "window"
models = ["litellm"]

[plugins.litellm]
source = "builtin:openai"
grants = {{ http = ["http://127.0.0.1:{port}"], credentials = ["litellm"] }}

[plugins.litellm.settings]
base_url = "http://127.0.0.1:{port}/v1"
model = "parrot"
stream = {stream}

[credentials.litellm]
origin = "http://127.0.0.1:{port}"
header = "authorization"
value = "Bearer {KEY}"
"#
        );
        let host = Setup::file(&toml).start().await;
        let client = host.client();

        let first = client.say("Hello.").await;
        assert_eq!(first["reply"]["content"], "A reply that no one here wrote.");
        assert_eq!(first["finish"], "stop");
        assert!(first["usage"]["output_tokens"].as_u64().unwrap() > 0, "{first}");
        let conversation = first["conversation_id"].as_str().unwrap();
        let body =
            serde_json::json!({ "message": "And again?", "conversation_id": conversation, "stream": true });
        let second = client.chat(&body).events().await.transcript().await;
        assert_eq!(second.text, "A reply that no one here wrote.");
        assert_eq!(second.completed()["finish"], "stop");
    }
}

/// Starts the proxy, waits until it answers, and returns it with its port.
async fn start_proxy(folder: &Path) -> (Child, u16) {
    let program = python::environment("litellm", PACKAGE).await.join("bin/litellm");
    let configuration = folder.join("litellm.yaml");
    std::fs::write(
        &configuration,
        format!(
            r#"
model_list:
  - model_name: parrot
    litellm_params:
      model: openai/parrot
      api_key: unused
      mock_response: "A reply that no one here wrote."
general_settings:
  master_key: {KEY}
litellm_settings:
  telemetry: false
"#
        ),
    )
    .unwrap();
    // The proxy can't choose a free port itself.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log = std::fs::File::create(folder.join("litellm.log")).unwrap();
    let mut proxy = Command::new(program)
        .arg("--config")
        .arg(configuration)
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    eventually("the proxy to answer", || {
        let ended = proxy.try_wait().unwrap();
        let request = http.get(format!("http://127.0.0.1:{port}/health/liveliness"));
        let folder = folder.to_owned();
        async move {
            if let Some(status) = ended {
                let log = std::fs::read_to_string(folder.join("litellm.log")).unwrap();
                panic!("the proxy ended with {status}:\n{log}");
            }
            request.send().await.is_ok_and(|answer| answer.status() == 200).then_some(())
        }
    })
    .await;
    (proxy, port)
}
