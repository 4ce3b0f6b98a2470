//! Streams of model servers that are odd: when the turn ends, what is stored as complete, and which tokens are told.

use masque_tests::{Answer, MockModel, Setup, Step};
use serde_json::json;

const CONTENT: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Once upon\"},\"finish_reason\":null}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

/// The model's server and the turn's limit are both far longer than the wait after a finish reason.
#[tokio::test]
async fn a_turn_ends_with_its_finish_reason_although_the_server_keeps_the_stream_open() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).and("[turn]\ntimeout = \"20s\"").start().await;
    // Without the line break the host would hold the last frame back: it may end in a part of the credential.
    let frames = [CONTENT, FINISH, ": comment\n\n", ": comment\n\n"];
    let steps = frames.into_iter().map(Step::Bytes).chain([Step::Stall]).collect();
    model.next(Answer::steps(steps));

    let transcript = host.client().stream("Hello.").await.transcript().await;

    let reply = transcript.completed();
    assert_eq!((&reply["finish"], &reply["reply"]["content"]), (&json!("stop"), &json!("Once upon")));
}

/// Behind a credential the host holds back what follows the last line break until the body ends.
#[tokio::test]
async fn the_last_line_of_a_stream_counts_without_its_line_break() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    model.next(Answer::steps(vec![Step::Bytes(CONTENT), Step::Bytes(FINISH.trim_end())]));
    let transcript = host.client().stream("Hello.").await.transcript().await;
    let reply = transcript.completed();
    assert_eq!((&reply["finish"], &reply["reply"]["content"]), (&json!("stop"), &json!("Once upon")));
}

#[tokio::test]
async fn an_error_in_the_stream_interrupts_the_reply_and_the_log_has_its_words() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let table = [
        (
            "error: {\"code\": 500, \"message\": \"slot was lost\"}\n\ndata: [DONE]\n\n",
            "model-unavailable",
            "slot was lost",
        ),
        (
            "data: {\"choices\": [{\"finish_reason\": \"error\", \"error\": {\"code\": 504, \"message\": \"worker gave up\"}}]}\n\n",
            "turn-timeout",
            "worker gave up",
        ),
    ];
    for (error, kind, words) in table {
        model.next(Answer::steps(vec![Step::Bytes(CONTENT), Step::Bytes(error)]));
        let transcript = host.client().stream("Hello.").await.transcript().await;
        transcript.failed(kind);
        assert_eq!(transcript.text, "Once upon");
        let turn = host.client().turn(&transcript.turn_id).await;
        assert_eq!((&turn["status"], &turn["finish"]), (&json!("interrupted"), &json!("interrupted")));
        host.logged(words).await;
    }
}

#[tokio::test]
async fn an_error_with_status_200_and_an_end_is_no_empty_reply() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let error = "data: {\"text\": \"The request is too long.\", \"error_code\": 40303}\n\ndata: [DONE]\n\n";
    model.next(Answer::steps(vec![Step::Bytes(error)]));
    host.client().chat(&json!({ "message": "Hello." })).send().await.problem(502, "model-invalid");
    host.logged("The request is too long.").await;
}

#[tokio::test]
async fn tokens_that_a_server_does_not_report_are_told_as_an_estimate() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    for stream in [true, false] {
        model.next(Answer::steps(vec![
            Step::Text("Hello yourself.".into()),
            Step::Finish("stop"),
            Step::Done,
        ]));
        let request = host.client().chat(&json!({ "message": "Hello.", "stream": stream }));
        let reply = if stream {
            request.events().await.transcript().await.completed().clone()
        } else {
            request.send().await.expect(200)
        };
        let usage = &reply["usage"];
        assert_eq!((&usage["estimated"], &usage["output_tokens"]), (&json!(true), &json!(4)), "{usage}");
        assert!(usage["input_tokens"].as_u64().unwrap() > 0, "{usage}");
        let turn = host.client().turn(reply["turn_id"].as_str().unwrap()).await;
        assert_eq!(turn["usage"], *usage);
    }
    let reported = host.client().say("Hello.").await;
    assert_eq!(reported["usage"], json!({ "input_tokens": 21, "output_tokens": 7, "cached_tokens": 3 }));
}

#[tokio::test]
async fn tokens_of_an_interrupted_reply_are_an_estimate() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    model.next(Answer::steps(vec![Step::Bytes(CONTENT)]));
    let transcript = host.client().stream("Hello.").await.transcript().await;
    transcript.failed("model-truncated");
    let usage = &host.client().turn(&transcript.turn_id).await["usage"];
    assert_eq!((&usage["estimated"], &usage["output_tokens"]), (&json!(true), &json!(3)), "{usage}");
}

#[tokio::test]
async fn a_server_that_refuses_a_greeting_first_gets_the_question_in_its_order() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let body = json!({ "companion": "elara", "greeting": 0 });
    let conversation = host.client().post("/conversations", &body).send().await.expect(201);
    let refusal = "Conversation roles must alternate user/assistant/user/assistant/...";
    model.next(Answer::error(400, "invalid_request_error", refusal));

    let reply = host.client().say_in(conversation["id"].as_str().unwrap(), "Hello.").await;

    assert_eq!(reply["reply"]["content"], "You said: Hello.");
    let roles =
        |messages: Vec<(String, String)>| messages.into_iter().map(|(role, _)| role).collect::<Vec<_>>();
    assert_eq!(roles(model.request(0).await.messages()), ["system", "assistant", "user"]);
    assert_eq!(roles(model.request(1).await.messages()), ["system", "user", "assistant", "user"]);
}
