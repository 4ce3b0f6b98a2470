//! Character cards as they are found in the world: what plays, what is refused and when, and what is reported.

use std::fs;

use masque_tests::{Host, MockModel, Setup, base64url, claims_with, eventually, token};
use serde_json::{Value, json};

const COMPANION: &str = "[companions.ida]\npersona = \"ida\"\nmemory = \"window\"\nmodels = [\"offline\"]\n";

/// A host whose only companion plays the card in this file.
fn playing(file: &str, card: &[u8]) -> Setup {
    let settings = format!(
        "[plugins.ida]\nsource = \"builtin:card\"\nsettings = {{ card = {{ file = \"{file}\" }} }}\n"
    );
    Setup::file(COMPANION).and(&settings).beside(file, card)
}

fn v2(fields: &Value) -> Value {
    let mut data = json!({ "name": "Ida", "first_mes": "Evening, {{user}}." });
    data.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({ "spec": "chara_card_v2", "spec_version": "2.0", "data": data })
}

/// The first words of a new conversation.
async fn greeting(host: &Host, more: Value) -> String {
    let mut body = json!({ "companion": "ida" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let begun = host.client().post("/conversations", &body).send().await.expect(201);
    begun["messages"][0]["content"].as_str().unwrap().to_owned()
}

fn chunk(kind: &str, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    [&length[..], kind.as_bytes(), data, &[0; 4]].concat()
}

/// The PNG in a size that is more than a setting may have.
fn too_large() -> Vec<u8> {
    [&png(&json!({}))[..], &[0; 2 << 20]].concat()
}

/// A PNG with a card after its image data, larger than the image of a usual card.
fn png(card: &Value) -> Vec<u8> {
    let text = [b"chara\0", base64url(card.to_string()).as_bytes()].concat();
    let image: Vec<u8> = (0..3 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk("IHDR", &[0; 13]),
        chunk("IDAT", &image),
        chunk("tEXt", &text),
        chunk("IEND", b""),
    ]
    .concat()
}

#[tokio::test]
async fn a_card_in_a_png_plays() {
    let host = playing("ida.png", &png(&v2(&json!({})))).start().await;
    assert_eq!(greeting(&host, json!({})).await, "Evening, User.");
    host.client().say("Hello.").await;
}

#[tokio::test]
async fn an_odd_card_plays_and_what_is_not_used_is_reported_once() {
    let card = v2(&json!({
        "alternate_greetings": "1687194031049",
        "description": ["{{char}} keeps a lighthouse.", "Ask nothing."],
        "scenario": null,
        "character_book": { "entries": { "0": { "key": ["x"] } } },
    }));
    // A text that was cut within an emoji.
    let text = card.to_string().replace("Ask nothing.", "Cut here: \\ud83c");
    let setup = playing("ida.json", text.as_bytes());
    let checked = setup.check().await;
    assert!(checked.status.success(), "{}", checked.text);
    let unused = "`character_book` (1 entries) is not played";
    for words in ["(ida.json)", "`alternate_greetings` is a text", unused] {
        assert!(checked.text.contains(words), "{words} is not in:\n{}", checked.text);
    }

    let host = setup.start().await;
    for _ in 0..2 {
        assert_eq!(greeting(&host, json!({})).await, "Evening, User.");
        host.client().say("Hello.").await;
    }
    host.logged(unused).await;
    assert_eq!(host.log().matches(unused).count(), 1, "{}", host.log());
}

#[tokio::test]
async fn macros_of_version_3_reach_neither_user_nor_model_in_braces() {
    let model = MockModel::start().await;
    let card = json!({ "spec": "chara_card_v3", "spec_version": "3.0", "data": {
        "name": "Ida",
        "first_mes": "{{random:{{user}},stranger}}. {{reverse:olleh}}{{comment:a note}}{{// ask {{user}} }}",
        "scenario": "{{pick:Tea,Rum}}, {{roll:d6}} turns{{hidden_key:storm}}{{time}}.",
    }});
    let host = playing("ida.json", card.to_string().as_bytes())
        .and(&model.plugin("mock", ""))
        .and("[companions.bea]\npersona = \"ida\"\nmemory = \"window\"\nmodels = [\"mock\"]\n")
        .start()
        .await;
    let said = greeting(&host, json!({})).await;
    assert!(["User. hello", "stranger. hello"].contains(&said.as_str()), "{said}");
    host.client().chat(&json!({ "companion": "bea", "message": "Hello." })).send().await.expect(200);
    let prompt = model.request(0).await.messages();
    assert!(prompt.iter().all(|(_, text)| !text.contains(['{', '}'])), "{prompt:?}");
}

#[tokio::test]
async fn a_megabyte_of_open_braces_stays_within_the_limit_on_cpu_time() {
    let card = v2(&json!({ "description": "{{ ".repeat(300_000), "personality": "<".repeat(900_000) }));
    let host = playing("ida.json", card.to_string().as_bytes()).start().await;
    host.client().say("Hello.").await;
}

#[tokio::test]
async fn a_card_that_can_not_be_used_is_refused_by_check_and_at_start_with_file_and_reason() {
    for (file, card, reason) in [
        ("ida.png", &b"\x89PNG\r\n\x1a\n\0\0\0\0IEND\0\0\0\0"[..], "holds no card"),
        // The file ends within its image, before the card.
        ("ida.png", &png(&v2(&json!({})))[..1 << 20], "cut off within its chunk `IDAT`"),
        ("ida.png", b"\x89PNG\n\x1a\n\0\0\0\rIHDR", "its signature"),
        ("ida.png", "\u{fffd}PNG\r\n\u{1a}\n".as_bytes(), "a PNG that was damaged"),
        ("ida.png", b"<!DOCTYPE html>", "a web page"),
        ("ida.webp", b"RIFF\0\0\0\0WEBPVP8 ", "`image/webp`"),
        ("ida.json", b"{\"data\": {}}", "`name` is missing"),
    ] {
        let setup = playing(file, card);
        let mut refused = vec![setup.check().await];
        if file == "ida.json" {
            refused.push(setup.serve_to_end().await);
        }
        for refused in refused {
            assert!(!refused.status.success(), "{file} was taken: {}", refused.text);
            for words in ["masque.toml:8:", "`card` of plugin `ida`", &format!("({file})"), reason] {
                assert!(refused.text.contains(words), "{words} is not in:\n{}", refused.text);
            }
        }
    }
}

#[tokio::test]
async fn a_card_that_is_too_large_or_no_known_file_is_refused_with_its_size_or_type() {
    let large = too_large();
    let size =
        format!("ida.png is too large: it has {} bytes, and the limit is 4194304 (4 MiB)", large.len());
    for (file, card, reason) in [
        ("ida.png", &large[..], size.as_str()),
        ("ida.gif", b"GIF89a\xff", "ida.gif is not UTF-8, and no PNG"),
    ] {
        let refused = playing(file, card).check().await;
        assert!(!refused.status.success(), "{file} was taken: {}", refused.text);
        assert!(refused.text.contains(reason), "{reason} is not in:\n{}", refused.text);
    }
}

#[tokio::test]
async fn any_setting_that_its_plugin_can_not_use_is_refused_with_the_reason() {
    for (plugin, words) in [
        (
            "[plugins.window]\nsource = \"builtin:window\"\nsettings = { max_turns = 5000000000 }\n",
            "`max_turns`",
        ),
        (
            "[plugins.far]\nsource = \"builtin:openai\"\nsettings = { model = \"m\", base_url = \"example.org\" }\n",
            "`base_url`",
        ),
    ] {
        let checked = Setup::file(plugin).check().await;
        assert!(!checked.status.success(), "taken: {}", checked.text);
        assert!(checked.text.contains("can't be used") && checked.text.contains(words), "{}", checked.text);
    }
    // What the trial lacks is not held against a plugin: this one needs the network.
    let far = "[plugins.far]\nsource = \"builtin:openai\"\nsettings = { model = \"m\", base_url = \"http://127.0.0.1:1/v1\" }\n";
    for (grants, is_warned) in [("", true), ("grants = { http = [\"http://127.0.0.1:1\"] }\n", false)] {
        let checked = Setup::file(&format!("{far}{grants}")).check().await;
        assert!(checked.status.success(), "{}", checked.text);
        assert_eq!(checked.text.contains("warning"), is_warned, "{}", checked.text);
    }
}

#[tokio::test]
async fn a_card_that_can_not_be_used_is_refused_at_reload_and_the_one_in_use_stays() {
    let host = playing("ida.json", v2(&json!({})).to_string().as_bytes()).start().await;
    fs::write(host.folder().join("ida.json"), "{\"data\": {}}").unwrap();
    let problems = eventually("a refusal", || async {
        let status = host.client().get("/status").send().await.expect(200);
        let reload = &status["reload"];
        (reload["outcome"] == "refused").then(|| reload["problems"].to_string())
    })
    .await;
    assert!(problems.contains("ida.json") && problems.contains("`name` is missing"), "{problems}");
    assert_eq!(greeting(&host, json!({})).await, "Evening, User.");
}

#[tokio::test]
async fn the_user_has_the_name_that_the_client_or_the_token_says() {
    let model = MockModel::start().await;
    let setup = playing("ida.json", v2(&json!({ "scenario": "{{user}} came in." })).to_string().as_bytes());
    let host = setup
        .and("[companions.bea]\npersona = \"ida\"\nmemory = \"window\"\nmodels = [\"mock\"]\n")
        .and(&model.plugin("mock", ""))
        .with_authentication()
        .start()
        .await;
    let bearer = token(&claims_with("ana", json!({ "name": "Ana Claimed" })));
    let client = host.client().bearer(&bearer);
    for (user, name) in [
        (json!({ "name": "Ada", "locale": "de-AT", "timezone": "Europe/Vienna" }), "Ada"),
        (json!({}), "Ana Claimed"),
    ] {
        let number = model.seen().len();
        let body = json!({ "companion": "bea", "message": "Hello.", "user": user });
        client.chat(&body).send().await.expect(200);
        let prompt = model.request(number).await.messages();
        assert!(prompt.iter().any(|(_, text)| text.contains(&format!("{name} came in."))), "{prompt:?}");
        let body = json!({ "companion": "ida", "user": user });
        let begun = client.post("/conversations", &body).send().await.expect(201);
        assert_eq!(begun["messages"][0]["content"], format!("Evening, {name}."));
    }
    for (user, problem) in [
        (json!({ "name": "a\nb" }), "invalid-request"),
        (json!({ "name": "x".repeat(65) }), "invalid-request"),
        (json!({ "nom": "x" }), "unknown-field"),
    ] {
        let body = json!({ "companion": "bea", "message": "Hello.", "user": user });
        client.chat(&body).send().await.problem(422, problem);
    }
}

#[tokio::test]
async fn a_user_whose_name_is_not_known_has_the_operators_word() {
    let host = Setup::file(COMPANION)
        .and("[plugins.ida]\nsource = \"builtin:card\"\n")
        .and("settings = { user_name = \"traveller\", card = { name = \"Ida\", first_mes = \"Evening, {{user}}.\" } }\n")
        .start()
        .await;
    assert_eq!(greeting(&host, json!({})).await, "Evening, traveller.");
    assert_eq!(greeting(&host, json!({ "user": { "name": "Ada" } })).await, "Evening, Ada.");
}
