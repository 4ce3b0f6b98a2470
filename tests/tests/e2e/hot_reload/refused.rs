//! Changes with a mistake have no effect. The reason is in `/status` and in the log.

use std::fs;

use masque_tests::{Host, MockModel, Setup};
use serde_json::json;

use super::*;

const NAMED: &str = "[plugins.speaker]\nsettings = { voice = \"calm\" }\n";

/// A host whose persona is build 1 with the voice `calm`.
async fn host_with_calm_voice(model: &MockModel) -> Host {
    let setup = Setup::file(SPEAKER).and(&model.plugin("mock", "")).and(NAMED);
    with_plugin(setup, "speaker", &build(1)).start().await
}

/// Asserts that the host uses the same build, settings and generation as at its start.
async fn assert_unchanged(host: &Host, model: &MockModel) {
    let number = model.seen().len();
    host.client().say("Hello.").await;
    let words = system_prompt(&model.request(number).await);
    assert!(words.contains(&build_name(1)) && words.contains("calm"), "{words}");
    let status = status(host).await;
    assert_eq!((&status["generation"], &status["reload"]["generation"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_broken_or_incomplete_component_is_refused_until_it_is_complete() {
    let model = MockModel::start().await;
    let host = host_with_calm_voice(&model).await;
    let file = plugin_file(&host, "speaker");
    let whole = build(2);

    for (broken, reason) in [
        (&b"not a component"[..], "not a WebAssembly file"),
        (b"\0asm\x01\0\0\0", "wasm32-wasip2"),
        (&whole[..whole.len() / 2], "does not compile"),
        (b"", "not a WebAssembly file"),
    ] {
        fs::write(&file, broken).unwrap();
        let problems = refused(&host, reason).await;
        assert!(problems[0].contains("plugin `speaker`"), "{problems:?}");
        assert_unchanged(&host, &model).await;
    }

    fs::write(&file, &whole).unwrap();
    let status = generation(&host, 2).await;
    assert_eq!(
        (&status["reload"]["outcome"], &status["reload"]["problems"]),
        (&json!("applied"), &json!([]))
    );
}

#[tokio::test]
async fn settings_that_the_plugin_does_not_take_are_refused_with_their_line() {
    let model = MockModel::start().await;
    let host = host_with_calm_voice(&model).await;
    let file = host.folder().join("masque.toml");
    let right = fs::read_to_string(&file).unwrap();

    fs::write(&file, right.replace("voice", "vioce")).unwrap();
    let problems = refused(&host, "Did you mean `voice`?").await;
    let line = right.lines().position(|line| line.contains("voice")).unwrap() + 1;
    assert!(problems[0].starts_with(&format!("masque.toml:{line}:")), "{problems:?}");
    assert_unchanged(&host, &model).await;

    fs::write(&file, right.replace("\"calm\"", "7")).unwrap();
    refused(&host, "voice").await;
    assert_unchanged(&host, &model).await;

    // The file says again what has been in effect all the time.
    fs::write(&file, right).unwrap();
    host.logged("is in effect again").await;
    assert_eq!(status(&host).await["reload"]["outcome"], "applied");
    assert_unchanged(&host, &model).await;
}

#[tokio::test]
async fn a_configuration_that_is_torn_empty_or_gone_is_refused() {
    let model = MockModel::start().await;
    let host = host_with_calm_voice(&model).await;
    let file = host.folder().join("masque.toml");
    let right = fs::read_to_string(&file).unwrap();

    fs::write(&file, &right[..right.len() - 8]).unwrap();
    refused(&host, "this is not TOML").await;
    assert_unchanged(&host, &model).await;
    fs::write(&file, "").unwrap();
    refused(&host, "the file is empty").await;
    assert_unchanged(&host, &model).await;
    fs::remove_file(&file).unwrap();
    refused(&host, "there is no file masque.toml").await;
    assert_unchanged(&host, &model).await;

    fs::write(&file, right.replace("calm", "stern")).unwrap();
    generation(&host, 2).await;
}

#[tokio::test]
async fn a_default_configuration_that_is_gone_is_refused_too() {
    let setup = Setup::defaults()
        .beside("masque.toml", b"[companions.ida]\npersona = \"elara\"\nmodels = [\"offline\"]\n");
    let host = setup.start().await;

    fs::remove_file(host.folder().join("masque.toml")).unwrap();

    refused(&host, "the file is gone").await;
    assert_eq!(status(&host).await["companions"], json!(["ida"]));
}

#[tokio::test]
async fn a_default_configuration_that_appears_is_followed() {
    let host = Setup::defaults().start().await;
    let toml = "[companions.ida]\npersona = \"elara\"\nmodels = [\"offline\"]\n";
    fs::write(host.folder().join("masque.toml"), toml).unwrap();
    assert_eq!(generation(&host, 2).await["companions"], json!(["ida"]));
}

#[tokio::test]
async fn a_card_that_is_half_written_or_missing_is_refused() {
    let model = MockModel::start().await;
    let setup = Setup::model(&model).and(
        "[plugins.elara]\nsource = \"builtin:card\"\nsettings = { card = { file = \"cards/elara.json\" } }\n",
    );
    fs::create_dir(setup.folder().join("cards")).unwrap();
    let card = r#"{ "name": "Elara", "description": "She keeps a lighthouse." }"#;
    let host = setup.beside("cards/elara.json", card.as_bytes()).start().await;
    let cards = host.folder().join("cards");

    fs::write(cards.join("elara.json"), &card[..card.len() - 10]).unwrap();
    refused(&host, "cards/elara.json is not JSON").await;
    fs::remove_dir_all(&cards).unwrap();
    refused(&host, "there is no file cards/elara.json").await;
    host.client().say("Hello.").await;
    assert!(system_prompt(&model.request(0).await).contains("lighthouse"));

    // Remove the folder too.
    fs::create_dir(&cards).unwrap();
    fs::write(cards.join("elara.json"), card.replace("lighthouse", "bookshop")).unwrap();
    generation(&host, 2).await;
    host.client().say("Hello.").await;
    assert!(system_prompt(&model.request(1).await).contains("bookshop"));
}

#[tokio::test]
async fn removing_a_component_that_a_companion_needs_is_refused() {
    let model = MockModel::start().await;
    let host = host_with_calm_voice(&model).await;

    fs::remove_file(plugin_file(&host, "speaker")).unwrap();

    let problems = refused(&host, "[plugins.speaker] has no `source`").await;
    assert!(problems[0].contains("plugins/speaker.wasm"), "it names the path of the component: {problems:?}");
    assert_unchanged(&host, &model).await;
}

#[tokio::test]
async fn a_plugin_of_another_kind_is_refused() {
    let model = MockModel::start().await;
    let setup = Setup::file(SPEAKER).and(&model.plugin("mock", ""));
    let host = with_plugin(setup, "speaker", &build(1)).start().await;

    replace_by_rename(&plugin_file(&host, "speaker"), &fixture("counts-exchanges"));

    refused(&host, "plugin `speaker` is a memory, and companion `elara` needs a persona here").await;
    assert_eq!(status(&host).await["generation"], 1);
}

#[tokio::test]
async fn a_version_with_an_older_state_format_is_refused() {
    let model = MockModel::start().await;
    let setup = Setup::file(SPEAKER).and(&model.plugin("mock", ""));
    let host = with_plugin(setup, "speaker", &fixture("keeps-later-state")).start().await;

    replace_by_rename(&plugin_file(&host, "speaker"), &build(1));

    let problems = refused(&host, "keeps its state in version 0").await;
    assert!(problems[0].contains("version 3") && problems[0].contains("another name"), "{problems:?}");
    host.client().say("Hello.").await;
    assert!(system_prompt(&model.request(0).await).contains("keeps later state"));
}

#[tokio::test]
async fn all_mistakes_are_reported_together_and_logged_once() {
    let model = MockModel::start().await;
    let host = host_with_calm_voice(&model).await;
    let file = host.folder().join("masque.toml");
    let right = fs::read_to_string(&file).unwrap();

    fs::write(plugin_file(&host, "other"), "no component").unwrap();
    refused(&host, "plugin `other`").await;
    fs::write(&file, right.replace("voice", "vioce")).unwrap();
    let problems = refused(&host, "`vioce`").await;
    assert!(problems.iter().any(|problem| problem.contains("plugin `other`")), "{problems:?}");

    // The same mistake is found again because of another change.
    fs::write(&file, right.replace("voice", "vioce") + "# and a comment\n").unwrap();
    let at = status(&host).await["reload"]["at"].clone();
    masque_tests::eventually("another attempt", || async {
        (status(&host).await["reload"]["at"] != at).then_some(())
    })
    .await;
    assert_eq!(host.log().matches("Did you mean `voice`?").count(), 1, "{}", host.log());
    assert_unchanged(&host, &model).await;
}

#[tokio::test]
async fn a_mistake_in_one_section_hides_none_in_the_settings_of_another_plugin() {
    let model = MockModel::start().await;
    let host = host_with_calm_voice(&model).await;
    let file = host.folder().join("masque.toml");
    let right = fs::read_to_string(&file).unwrap();
    let ghost = "[plugins.ghost]\n";

    fs::write(&file, format!("{right}{ghost}")).unwrap();
    let problems = refused(&host, "[plugins.ghost] has no `source`").await;
    assert_eq!(problems.len(), 1, "{problems:?}");

    // The ghost is still there, so the second mistake shows only if the settings are checked nevertheless.
    let wrong = format!("{}{ghost}", right.replace("voice", "vioce"));
    fs::write(&file, &wrong).unwrap();
    let problems = refused(&host, "Did you mean `voice`?").await;
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("[plugins.ghost]")), "{problems:?}");
    assert_unchanged(&host, &model).await;

    let checked = Setup::file(&wrong).run(&["check", "--data", host.data().to_str().unwrap()]).await;
    for problem in &problems {
        assert!(checked.text.contains(problem.as_str()), "{problem} is not in {}", checked.text);
    }
}
