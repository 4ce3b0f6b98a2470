//! Invalid requests. The host refuses each with a problem that says what to change, and stores nothing.

use masque_tests::{Client, RawConnection, Setup};
use serde_json::{Value, json};

async fn assert_no_conversation(client: &Client) {
    let page = client.get("/conversations").send().await.expect(200);
    assert_eq!(page["items"], json!([]));
}

/// Asserts that a new host refuses `body` with this problem and stores no conversation. Returns the problem.
async fn assert_refused(body: &Value, status: u16, kind: &str) -> Value {
    let host = Setup::defaults().start().await;
    let problem = host.client().chat(body).send().await.problem(status, kind);
    assert_no_conversation(&host.client()).await;
    problem
}

#[tokio::test]
async fn malformed_json_is_refused_with_its_line() {
    let host = Setup::defaults().start().await;
    let request = host.client().request(reqwest::Method::POST, "/chat");
    let answer =
        request.header("content-type", "application/json").body("{\"message\": \"Hello.\",\n}").send().await;

    let problem = answer.problem(400, "malformed-json");
    assert!(problem["detail"].as_str().unwrap().contains('2'), "the second line: {problem}");
    assert_no_conversation(&host.client()).await;
}

#[tokio::test]
async fn an_unknown_field_is_refused_and_the_nearest_field_is_named() {
    let problem = assert_refused(&json!({ "mesage": "Hello." }), 422, "unknown-field").await;
    assert_eq!(problem["nearest"], "message");
    assert!(problem["detail"].as_str().unwrap().contains("message"), "{problem}");
}

#[tokio::test]
async fn a_request_without_a_message_is_refused() {
    assert_refused(&json!({}), 422, "invalid-request").await;
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_refused_by_name() {
    let problem =
        assert_refused(&json!({ "message": "Hello.", "metadata": "none" }), 422, "invalid-request").await;
    assert!(problem.to_string().contains("metadata"), "{problem}");
}

#[tokio::test]
async fn an_empty_message_is_refused() {
    assert_refused(&json!({ "message": "" }), 422, "message-empty").await;
}

#[tokio::test]
async fn a_message_of_white_space_is_refused() {
    assert_refused(&json!({ "message": " \n\t\u{a0}" }), 422, "message-empty").await;
}

#[tokio::test]
async fn a_message_of_the_maximum_size_is_accepted_and_one_byte_more_is_refused() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    let limit = 64 * 1024;
    client.chat(&json!({ "message": "a".repeat(limit + 1) })).send().await.problem(413, "message-too-large");
    assert_no_conversation(&client).await;
    client.chat(&json!({ "message": "a".repeat(limit) })).send().await.expect(200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let host = Setup::file("[server]\nmax_message_bytes = \"4KiB\"\nmax_body_bytes = \"8KiB\"").start().await;
    let client = host.client();
    let body = json!({ "message": "Hello.", "metadata": { "note": "a".repeat(9000) } });
    client.chat(&body).send().await.problem(413, "body-too-large");
    assert_no_conversation(&client).await;
}

#[tokio::test]
async fn a_message_can_be_a_list_of_text_parts() {
    let host = Setup::defaults().start().await;
    let body = json!({ "message": [{ "type": "text", "text": "Hello." }] });
    let reply = host.client().chat(&body).send().await.expect(200);
    let messages = host.client().messages(reply["conversation_id"].as_str().unwrap()).await;
    assert!(messages.iter().any(|message| message["role"] == "user" && message["content"] == "Hello."));
}

#[tokio::test]
async fn a_part_that_is_not_text_is_refused() {
    let image = json!({ "type": "image", "url": "https://example.org/cat.png" });
    assert_refused(&json!({ "message": [image] }), 422, "invalid-request").await;
}

#[tokio::test]
async fn a_message_of_too_many_parts_is_refused_with_the_limit() {
    let parts = vec![json!({ "type": "text", "text": "Hello." }); 257];
    let problem = assert_refused(&json!({ "message": parts }), 422, "invalid-request").await;
    assert_eq!(problem["field"], "message");
    assert!(problem["detail"].as_str().unwrap().contains("256"), "{problem}");
}

#[tokio::test]
async fn a_field_of_the_user_outside_of_it_is_refused_with_its_place() {
    let problem = assert_refused(&json!({ "message": "Hello.", "locale": "de" }), 422, "unknown-field").await;
    assert!(problem["detail"].as_str().unwrap().contains("`user.locale`"), "{problem}");
}

#[tokio::test]
async fn an_unknown_companion_is_not_found() {
    assert_refused(&json!({ "message": "Hello.", "companion": "nobody" }), 404, "companion-not-found").await;
}

#[tokio::test]
async fn an_unknown_conversation_is_not_found() {
    let body = json!({ "message": "Hello.", "conversation_id": uuid::Uuid::now_v7() });
    assert_refused(&body, 404, "conversation-not-found").await;
}

#[tokio::test]
async fn a_malformed_id_is_not_found() {
    let host = Setup::defaults().start().await;
    host.client().get("/conversations/first").send().await.problem(404, "conversation-not-found");
    host.client().get("/turns/first").send().await.problem(404, "turn-not-found");
}

#[tokio::test]
async fn a_conversation_can_not_be_continued_with_another_companion() {
    let toml = "[companions.elara]\npersona = \"elara\"\nmodels = [\"offline\"]\n\
                [companions.other]\npersona = \"elara\"\nmodels = [\"offline\"]\n";
    let host = Setup::file(toml).start().await;
    let client = host.client();
    let first = client.chat(&json!({ "message": "Hello.", "companion": "elara" })).send().await.expect(200);

    let body =
        json!({ "message": "Hello.", "companion": "other", "conversation_id": first["conversation_id"] });
    client.chat(&body).send().await.problem(422, "other-companion");
}

#[tokio::test]
async fn a_new_conversation_must_name_one_of_several_companions() {
    let toml = "[companions.one]\npersona = \"elara\"\nmodels = [\"offline\"]\n\
                [companions.two]\npersona = \"elara\"\nmodels = [\"offline\"]\n";
    let host = Setup::file(toml).start().await;
    let answer = host.client().chat(&json!({ "message": "Hello." })).send().await;
    let companions = host.client().get("/companions").send().await.expect(200);
    assert_eq!(companions["items"].as_array().unwrap().len(), 2);
    let problem = answer.problem(422, "companion-not-named");
    for name in ["`one`", "`two`"] {
        assert!(problem["detail"].as_str().unwrap().contains(name), "{problem}");
    }
}

#[tokio::test]
async fn a_body_without_the_json_content_type_is_refused() {
    let host = Setup::defaults().start().await;
    for media_type in ["text/plain", "application/x-www-form-urlencoded"] {
        let request =
            host.client().request(reqwest::Method::POST, "/chat").header("content-type", media_type);
        request.body("{\"message\":\"Hello.\"}").send().await.problem(415, "unsupported-media-type");
    }
    let request = host.client().request(reqwest::Method::POST, "/chat");
    request.body("{\"message\":\"Hello.\"}").send().await.problem(415, "unsupported-media-type");
    assert_no_conversation(&host.client()).await;
}

#[tokio::test]
async fn a_web_page_of_another_origin_is_refused_and_one_of_the_hosts_own_origin_is_not() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    let body = json!({ "message": "Hello." });
    for origin in ["https://evil.example", "http://127.0.0.1.evil.example", "null"] {
        client.chat(&body).header("origin", origin).send().await.problem(403, "origin-not-allowed");
    }
    assert_no_conversation(&client).await;
    client.chat(&body).header("origin", &format!("http://{}", host.address())).send().await.expect(200);
}

#[tokio::test]
async fn a_host_header_that_names_another_machine_is_refused() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    for name in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1"] {
        client.get("/conversations").header("host", name).send().await.problem(421, "host-not-allowed");
    }
    for name in ["localhost", "127.0.0.1", "[::1]", "localhost:1234"] {
        client.get("/conversations").header("host", name).send().await.expect(200);
    }
}

#[tokio::test]
async fn a_request_without_a_host_header_is_refused() {
    let host = Setup::defaults().start().await;
    let mut connection = RawConnection::open(host.address()).await;
    connection.send("GET /conversations HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    let answer = String::from_utf8(connection.read_to_end().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 421") || answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn an_unknown_path_and_an_unsupported_method_are_answered_with_problems() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    client.get("/chats").send().await.problem(404, "route-not-found");
    for (path, right) in [("//chat", "`/chat`"), ("/chat/", "`/chat`"), ("/livez/", "`/livez`")] {
        let problem = client.get(path).send().await.problem(404, "route-not-found");
        assert!(problem["detail"].as_str().unwrap().contains(right), "{path}: {problem}");
    }
    let wrong = client.delete("/chat").send().await;
    wrong.problem(405, "method-not-allowed");
    assert!(wrong.header("allow").unwrap().contains("POST"));
}

#[tokio::test]
async fn an_invalid_page_size_and_an_unknown_parameter_are_refused() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    for query in ["limit=0", "limit=-1", "limit=many", "limit=100000000"] {
        let path = format!("/conversations?{query}");
        client.get(&path).send().await.problem(422, "invalid-request");
    }
    client.get("/conversations?limits=3").send().await.problem(422, "unknown-field");
}

#[tokio::test]
async fn an_idempotency_key_that_is_empty_or_too_long_is_refused() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    for key in [String::new(), "k".repeat(5000)] {
        client.chat(&json!({ "message": "Hello." })).key(&key).send().await.problem(422, "invalid-request");
    }
    assert_no_conversation(&client).await;
}
