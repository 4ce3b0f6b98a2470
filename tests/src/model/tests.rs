//! Tests of the model server with a client that is not the host.

use serde_json::{Value, json};

use super::{Answer, Gate, MockModel, Step};

async fn ask(model: &MockModel, stream: bool) -> reqwest::Result<reqwest::Response> {
    let body = json!({ "model": "m", "stream": stream, "messages": [{ "role": "user", "content": "Hi." }] });
    let http = reqwest::Client::builder().no_proxy().build()?;
    http.post(format!("{}/v1/chat/completions", model.origin()))
        .bearer_auth(model.key())
        .json(&body)
        .send()
        .await
}

#[tokio::test]
async fn a_reply_is_the_same_with_a_stream_and_without() {
    let model = MockModel::start().await;
    let whole: Value = ask(&model, false).await.unwrap().json().await.unwrap();
    assert_eq!(whole["choices"][0]["message"]["content"], "You said: Hi.");

    let text = ask(&model, true).await.unwrap().text().await.unwrap();
    let frames: Vec<_> = text.split("\n\n").filter_map(|frame| frame.strip_prefix("data: ")).collect();
    assert_eq!(*frames.last().unwrap(), "[DONE]");
    let frames: Vec<Value> =
        frames[..frames.len() - 1].iter().map(|frame| serde_json::from_str(frame).unwrap()).collect();
    let streamed: String =
        frames.iter().filter_map(|frame| frame["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(streamed, "You said: Hi.");
    assert_eq!(frames.last().unwrap()["usage"], whole["usage"]);
}

#[tokio::test]
async fn a_gate_holds_the_reply_until_it_is_opened() {
    let model = MockModel::start().await;
    let gate = Gate::new();
    model.next(Answer::held("one", &gate, "two"));
    let mut answer = ask(&model, true).await.unwrap();
    gate.reached().await;
    let mut text = String::new();
    while !text.contains("one") {
        text.push_str(std::str::from_utf8(&answer.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(!text.contains("two"));
    gate.open();
    assert!(answer.text().await.unwrap().contains("two"));
}

#[tokio::test]
async fn a_cut_breaks_the_connection_and_a_reader_that_leaves_is_noticed() {
    let model = MockModel::start().await;
    for stream in [false, true] {
        model.next(Answer::steps(vec![Step::Text("Half a".to_owned()), Step::Cut]));
        ask(&model, stream).await.unwrap().text().await.unwrap_err();
    }
    model.next(Answer::hang_up());
    ask(&model, true).await.unwrap_err();
    model.next(Answer::steps(vec![Step::Text("Half a".to_owned()), Step::Stall]));
    drop(ask(&model, true).await.unwrap());
    model.abandoned().await;
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_so_is_a_closed_port() {
    let model = MockModel::start().await;
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(model.origin())
        .json(&json!({}))
        .send()
        .await;
    assert_eq!(answer.unwrap().status(), 401);
    assert!(ask(&MockModel::refusing(), false).await.unwrap_err().is_connect());
}
