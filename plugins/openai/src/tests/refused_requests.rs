//! Requests that a server refuses and that are sent once more.

use super::*;

const REFUSED: &str = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";

/// The bodies of the requests to servers that answer one after the other, and how it ended.
fn bodies(settings: &str, responses: Vec<HttpResponse>) -> (Vec<Value>, Result<testing::Answer>) {
    testing::reset();
    testing::set_settings(settings);
    responses.into_iter().for_each(testing::respond);
    let prompt = Prompt::new([
        Message::system("You are Ida."),
        Message::assistant("Hello!"),
        Message::user("Hi."),
        Message::system("Be brief."),
    ]);
    let answer = testing::answer(&testing::load::<OpenAi>().unwrap(), prompt.option("max_tokens", 9));
    let body = |request: testing::HttpRequest| serde_json::from_slice(&request.body).unwrap();
    (testing::requests().into_iter().map(body).collect(), answer)
}

fn refusal(status: u16, message: &str) -> HttpResponse {
    let body = serde_json::json!({"error": {"message": message, "type": "invalid_request_error"}});
    HttpResponse::new(status).header("content-type", "application/json").chunk(body.to_string())
}

fn reply() -> HttpResponse {
    events().chunk(HELLO).chunk(END)
}

fn roles(body: &Value) -> Vec<&str> {
    body["messages"].as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect()
}

const SETTINGS: &str = r#"{"model": "m", "base_url": "http://127.0.0.1:9/v1"}"#;

#[test]
fn a_parameter_that_a_server_names_is_renamed_or_left_out_once() {
    let (bodies, answer) = bodies(SETTINGS, vec![refusal(400, REFUSED), reply()]);
    assert_eq!(answer.unwrap().text(), "Hello");
    assert_eq!(bodies[0]["max_tokens"], 9);
    assert_eq!((&bodies[1]["max_tokens"], &bodies[1]["max_completion_tokens"]), (&Value::Null, &9.into()));
}

#[test]
fn a_request_is_not_repeated_without_a_reason_or_for_ever() {
    let unknown = "Unrecognized request argument supplied: stream_options";
    for (responses, count) in [
        (vec![refusal(400, "Bad request."), reply()], 1),
        (vec![refusal(500, "'stream_options' is not supported"), reply()], 1),
        (vec![refusal(400, unknown), refusal(400, REFUSED), reply()], 2),
    ] {
        let (bodies, answer) = bodies(SETTINGS, responses);
        assert!(answer.is_err());
        assert_eq!(bodies.len(), count);
    }
}

#[test]
fn a_server_that_refuses_the_order_of_messages_gets_a_stricter_one() {
    let strict = "Conversation roles must alternate user/assistant/user/assistant/...";
    for status in [400, 500] {
        let (bodies, answer) = bodies(SETTINGS, vec![refusal(status, strict), reply()]);
        assert_eq!(answer.unwrap().text(), "Hello");
        assert_eq!(roles(&bodies[0]), ["system", "assistant", "user", "system"]);
        assert_eq!(roles(&bodies[1]), ["system", "user", "assistant", "user"]);
    }
    let late = "System message must be at the beginning.";
    let (later, answer) = bodies(SETTINGS, vec![refusal(400, late), refusal(400, REFUSED), reply()]);
    assert_eq!(answer.unwrap().text(), "Hello");
    assert_eq!(roles(&later[2]), ["system", "assistant", "user", "user"]);
    assert_eq!(later[2]["max_completion_tokens"], 9);
}

#[test]
fn a_server_that_is_known_to_be_strict_is_asked_in_its_order_at_once() {
    for settings in [
        r#"{"model": "m", "base_url": "https://api.perplexity.ai"}"#,
        r#"{"model": "m", "base_url": "http://h", "alternate_roles": true, "late_system": "user"}"#,
    ] {
        let (bodies, _) = bodies(settings, vec![reply()]);
        assert_eq!(roles(&bodies[0]), ["system", "user", "assistant", "user"]);
    }
}

#[test]
fn an_order_that_the_operator_set_is_kept() {
    let settings =
        r#"{"model": "m", "base_url": "http://h", "alternate_roles": false, "late_system": "keep"}"#;
    let (bodies, answer) = bodies(settings, vec![refusal(400, "roles must alternate"), reply()]);
    assert!(answer.is_err());
    assert_eq!(bodies.len(), 1);
}
