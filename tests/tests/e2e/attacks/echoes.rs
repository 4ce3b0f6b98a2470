//! Servers that send back the credentials that they were sent, as a whole or in part.

use masque_tests::{Answer, MockModel, Setup};
use serde_json::json;

#[tokio::test]
async fn a_key_that_the_server_echoes_does_not_reach_the_client() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    for (number, stream) in [false, true].into_iter().enumerate() {
        model.next(Answer::pieces(&["Your key is ", model.key(), ", is it not?"]));
        let body = json!({ "message": format!("Question {number}."), "stream": stream });
        let answer = host.client().chat(&body).send().await;
        assert_eq!(answer.status, 200);
        assert!(!answer.text.contains(model.key()), "{}", answer.text);
    }
}

#[tokio::test]
async fn no_part_of_a_credential_that_the_server_echoes_reaches_the_client() {
    let model = MockModel::start().await;
    let (session, theme) = ("0123-session-4567", "solarized-dark");
    // A cookie with two secrets next to the key, and white space at the end of both values.
    let plugin = model
        .plugin("mock", "")
        .replace("credentials = [\"mock\"]", "credentials = [\"mock\", \"cookie\"]")
        .replace(&format!("Bearer {}", model.key()), &format!("Bearer {}  ", model.key()));
    let cookie = format!(
        "[credentials.cookie]\norigin = \"{}\"\nheader = \"cookie\"\nvalue = \"session=${{SESSION}}; theme=${{THEME}} \"\n",
        model.origin()
    );
    let companion = "[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"mock\"]\n";
    let host = Setup::file(companion)
        .and(&plugin)
        .and(&cookie)
        .environment("SESSION", session)
        .environment("THEME", theme)
        .start()
        .await;
    for secret in [model.key(), session, theme] {
        model.next(Answer::pieces(&["You sent ", secret, ", did you not?"]));
        let answer = host.client().chat(&json!({ "message": "Hello." })).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(!answer.text.contains(secret) && answer.text.contains("[redacted]"), "{}", answer.text);
    }
    let seen = model.request(0).await;
    assert_eq!(seen.headers["cookie"], format!("session={session}; theme={theme}"));
}
