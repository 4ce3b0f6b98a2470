//! Components of many parts. Each part can wait, and then holds a stack of the host's, so a call takes the places in the pool
//! that its stacks need.

use masque_tests::{Baseline, Setup, eventually, fixture, with_parts};
use serde_json::json;

const INSTANCES: u64 = 16;
/// The places that 40 parts and the component itself take, with four stacks each.
const PLACES: u64 = 11;

/// A configuration with a persona of so many parts, whose calls wait, and a companion of the same name.
fn waiting_plugin(parts: u32) -> Setup {
    let component = std::fs::read(fixture("breaks-a-call")).unwrap();
    Setup::file(&format!("[sandbox]\ninstances = {INSTANCES}\n"))
        .and("[companions.elara]\npersona = \"elara\"\nmodels = [\"offline\"]\n")
        .and("[companions.many-parts]\npersona = \"many-parts\"\nmodels = [\"offline\"]\n")
        .and("[plugins.many-parts]\nsource = \"many-parts.wasm\"\nsettings.behaviour = \"waits-for-an-hour\"\n")
        .beside("many-parts.wasm", &with_parts(&component, parts))
}

#[tokio::test]
async fn a_call_of_a_component_with_many_parts_takes_the_places_of_many_calls() {
    let host = waiting_plugin(40).start().await;
    let client = host.client();
    let healthy = json!({ "message": "Hello.", "companion": super::HEALTHY_COMPANION });
    client.chat(&healthy).send().await.expect(200);
    let baseline = Baseline::of(&host).await;

    let attack = client.chat(&json!({ "message": "Hello.", "companion": "many-parts" }));
    let waiting = tokio::spawn(attack.send());
    eventually("the waiting call to hold its places", || async {
        let status = client.get("/status").send().await.expect(200);
        (status["sandbox"]["free"] == INSTANCES - PLACES).then_some(())
    })
    .await;
    // The places that are left serve other companions, also while another such call waits for its own.
    let second = client.chat(&json!({ "message": "Hello.", "companion": "many-parts" }));
    let second = tokio::spawn(second.send());
    for _ in 0..3 {
        client.chat(&healthy).send().await.expect(200);
    }
    second.await.unwrap().problem(503, "overloaded");

    waiting.abort();
    baseline.returns(&host).await;
}

#[tokio::test]
async fn a_component_with_more_parts_than_the_engine_allows_is_refused() {
    let setup = waiting_plugin(100);
    for outcome in [setup.check().await, setup.serve_to_end().await] {
        assert!(!outcome.status.success(), "{}", outcome.text);
        let refused = |line: &str| line.contains("`many-parts`") && line.contains("can't be loaded");
        assert!(outcome.text.lines().any(refused), "{}", outcome.text);
    }
}
