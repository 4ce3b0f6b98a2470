//! What is published of the API: `docs/openapi.json`, and the tables of `docs/api.md`. Run with `MASQUE_WRITE_DOCS=1`, the
//! tests write both from the code.

mod page;

use std::path::PathBuf;

use serde_json::Value;

use super::setup::Api;

const BEGIN: &str = "<!-- What follows is written by a test of masque-api. -->\n";

fn in_docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

fn writes() -> bool {
    std::env::var_os("MASQUE_WRITE_DOCS").is_some()
}

#[tokio::test]
async fn the_published_description_is_the_one_that_a_host_serves() {
    let served = Api::new().await.get("/openapi.json").await.json();
    if writes() {
        let text = serde_json::to_string_pretty(&served).unwrap();
        std::fs::write(in_docs("openapi.json"), text + "\n").unwrap();
    }
    let text = std::fs::read_to_string(in_docs("openapi.json")).unwrap();
    let published: Value = serde_json::from_str(&text).unwrap();
    assert!(
        published == served,
        "docs/openapi.json differs from the code; write it with MASQUE_WRITE_DOCS=1"
    );
}

#[tokio::test]
async fn the_page_of_the_api_has_every_route_and_object_of_the_description() {
    let served = Api::new().await.get("/openapi.json").await.json();
    let tables = page::page(&served);
    let text = std::fs::read_to_string(in_docs("api.md")).unwrap();
    let (introduction, written) = text.split_once(BEGIN).unwrap();
    if writes() {
        std::fs::write(in_docs("api.md"), format!("{introduction}{BEGIN}{tables}")).unwrap();
        return;
    }
    assert!(written == tables, "docs/api.md differs from the code; write it with MASQUE_WRITE_DOCS=1");
    for (path, item) in served["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let heading = format!("\n### `{} {path}`\n", method.to_uppercase());
            assert!(tables.contains(&heading), "{heading}");
        }
    }
}
