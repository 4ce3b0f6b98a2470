//! The next model takes over if the first one fails before its first content, and never after it.

use masque_tests::{Answer, Host, MockModel, Setup, Step};
use serde_json::json;

async fn host(first: &MockModel, second: &MockModel, fallback: bool) -> Host {
    let companion = format!(
        "[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"first\", \"second\"]\nfallback = {fallback}\n"
    );
    let setup = Setup::file(&companion);
    setup
        // Long enough for a busy machine to deliver what the model has sent.
        .and(&first.plugin("first", "stall_timeout_ms = 3000"))
        .and(&second.plugin("second", ""))
        .start()
        .await
}

async fn assert_second_model_takes_over(answer: Answer) {
    let (first, second) = (MockModel::start().await, MockModel::start().await);
    let host = host(&first, &second, true).await;
    first.next(answer);

    let transcript = host.client().stream("Hello.").await.transcript().await;

    assert_eq!(transcript.text, "You said: Hello.");
    assert_eq!(transcript.completed()["finish"], "stop");
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
    let messages = host.client().messages(&transcript.conversation_id).await;
    assert_eq!(messages.iter().filter(|message| message["role"] == "user").count(), 1);
}

#[tokio::test]
async fn the_second_model_takes_over_from_one_that_refuses_connections() {
    let (first, second) = (MockModel::refusing(), MockModel::start().await);
    let host = host(&first, &second, true).await;
    assert_eq!(host.client().say("Hello.").await["reply"]["content"], "You said: Hello.");
}

#[tokio::test]
async fn the_second_model_takes_over_from_one_that_answers_with_an_error() {
    assert_second_model_takes_over(Answer::error(500, "server_error", "The server had an error.")).await;
}

#[tokio::test]
async fn the_second_model_takes_over_from_one_that_stalls_before_its_first_content() {
    assert_second_model_takes_over(Answer::steps(vec![Step::Stall])).await;
}

#[tokio::test]
async fn the_second_model_takes_over_from_one_that_closes_before_its_first_content() {
    assert_second_model_takes_over(Answer::steps(vec![Step::Cut])).await;
}

#[tokio::test]
async fn no_model_takes_over_after_the_first_content() {
    let (first, second) = (MockModel::start().await, MockModel::start().await);
    let host = host(&first, &second, true).await;
    first.next(Answer::steps(vec![Step::Text("Half a".to_owned()), Step::Cut]));

    let transcript = host.client().stream("Hello.").await.transcript().await;

    assert_eq!(transcript.text, "Half a");
    assert_eq!(transcript.last().name, "turn.failed");
    assert_eq!(second.seen().len(), 0);
}

#[tokio::test]
async fn no_model_takes_over_if_fallback_is_off() {
    let (first, second) = (MockModel::start().await, MockModel::start().await);
    let host = host(&first, &second, false).await;
    first.next(Answer::error(500, "server_error", "The server had an error."));

    host.client().chat(&json!({ "message": "Hello." })).send().await.problem(502, "model-unavailable");

    assert_eq!(second.seen().len(), 0);
}

#[tokio::test]
async fn if_all_models_fail_the_client_gets_the_failure_of_the_last() {
    let (first, second) = (MockModel::start().await, MockModel::start().await);
    let host = host(&first, &second, true).await;
    first.next(Answer::error(500, "server_error", "The server had an error."));
    second.next(Answer::error(429, "rate_limit_exceeded", "Slow down.").header("retry-after", "9"));

    let answer = host.client().chat(&json!({ "message": "Hello." })).send().await;

    answer.problem(503, "model-rate-limited");
    assert_eq!(answer.header("retry-after"), Some("9"));
}
