//! Correct changes are in effect a moment later, however the files are replaced.

use std::fs;
use std::os::unix::fs::symlink;

use masque_tests::{Answer, Host, MockModel, Setup};
use serde_json::json;

use super::*;

/// The system prompt of the next turn.
async fn next_prompt(host: &Host, model: &MockModel) -> String {
    let number = model.seen().len();
    host.client().say("Hello.").await;
    system_prompt(&model.request(number).await)
}

fn card(description: &str) -> String {
    let data = json!({ "name": "Elara", "description": description, "first_mes": "", "personality": "",
        "scenario": "", "mes_example": "" });
    json!({ "spec": "chara_card_v2", "spec_version": "2.0", "data": data }).to_string()
}

#[tokio::test]
async fn a_component_put_into_the_folder_is_loaded_and_can_be_used_by_a_companion() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let file = host.folder().join("masque.toml");
    let with_ida = json!({ "message": "Hello.", "companion": "ida" });

    replace_by_rename(&plugin_file(&host, "ida"), &build(1));
    let status = generation(&host, 2).await;
    assert!(
        digest(&status, "ida").starts_with("sha256:"),
        "a plugin that no companion uses is loaded: {status}"
    );
    assert_eq!(
        (&status["reload"]["outcome"], &status["reload"]["problems"]),
        (&json!("applied"), &json!([]))
    );
    host.client().chat(&with_ida).send().await.problem(404, "companion-not-found");

    let more = "[companions.ida]\npersona = \"ida\"\nmodels = [\"mock\"]\n";
    fs::write(&file, fs::read_to_string(&file).unwrap() + more).unwrap();
    generation(&host, 3).await;
    let companions = host.client().get("/companions").send().await.expect(200);
    assert!(companions.to_string().contains("\"ida\""), "{companions}");
    host.client().chat(&with_ida).send().await.expect(200);
    assert!(system_prompt(&model.request(0).await).contains(&build_name(1)));

    // Remove the companion first, then its plugin.
    fs::write(&file, fs::read_to_string(&file).unwrap().replace(more, "")).unwrap();
    generation(&host, 4).await;
    host.logged("companion `ida` is gone, and its conversations can't be continued").await;
    fs::remove_file(plugin_file(&host, "ida")).unwrap();
    let status = generation(&host, 5).await;
    assert!(!status.to_string().contains("\"ida\""), "{status}");
}

#[tokio::test]
async fn a_component_replaced_in_place_by_rename_or_by_a_link_serves_from_the_next_turn() {
    let model = MockModel::start().await;
    let setup = Setup::file(SPEAKER).and(&model.plugin("mock", ""));
    let host = with_plugin(setup, "speaker", &build(1)).start().await;
    let file = plugin_file(&host, "speaker");
    assert!(next_prompt(&host, &model).await.contains(&build_name(1)));

    fs::write(&file, build(2)).unwrap();
    let status = generation(&host, 2).await;
    assert!(next_prompt(&host, &model).await.contains(&build_name(2)));
    host.logged(&digest(&status, "speaker")).await;

    replace_by_rename(&file, &build(3));
    generation(&host, 3).await;
    assert!(next_prompt(&host, &model).await.contains(&build_name(3)));

    // Replace the file by a link to another file.
    fs::write(host.folder().join("built.wasm"), build(4)).unwrap();
    symlink(host.folder().join("built.wasm"), file.with_extension("part")).unwrap();
    fs::rename(file.with_extension("part"), &file).unwrap();
    generation(&host, 4).await;
    assert!(next_prompt(&host, &model).await.contains(&build_name(4)));

    // Replace the file behind the link.
    replace_by_rename(&host.folder().join("built.wasm"), &build(5));
    generation(&host, 5).await;
    assert!(next_prompt(&host, &model).await.contains(&build_name(5)));
}

#[tokio::test]
async fn a_component_outside_the_folder_is_followed_too() {
    let model = MockModel::start().await;
    let setup = Setup::file(SPEAKER)
        .and(&model.plugin("mock", ""))
        .and("[plugins.speaker]\nsource = \"speaker.wasm\"\n")
        .beside("speaker.wasm", &build(1));
    let host = setup.start().await;

    replace_by_rename(&host.folder().join("speaker.wasm"), &build(2));

    generation(&host, 2).await;
    assert!(next_prompt(&host, &model).await.contains(&build_name(2)));
}

#[tokio::test]
async fn a_swapped_volume_changes_all_its_files_at_once() {
    let model = MockModel::start().await;
    let toml = |voice: &str| {
        format!(
            "{SPEAKER}{}[plugins.speaker]\nsettings = {{ voice = \"{voice}\" }}\n",
            model.plugin("mock", "")
        )
    };
    let setup = Setup::defaults().environment("MASQUE_CONFIG", "etc/masque.toml");
    let mut etc = Mount::new(&setup.folder().join("etc"), &[("masque.toml", toml("calm").as_bytes())]);
    let mut plugins = Mount::new(&setup.data().join("plugins"), &[("speaker.wasm", &build(1))]);
    let host = setup.start().await;
    let words = next_prompt(&host, &model).await;
    assert!(words.contains(&build_name(1)) && words.contains("calm"), "{words}");

    etc.swap(&[("masque.toml", toml("stern").as_bytes())]);
    generation(&host, 2).await;
    plugins.swap(&[("speaker.wasm", &build(2))]);
    generation(&host, 3).await;
    plugins.swap(&[("speaker.wasm", &build(3))]);
    generation(&host, 4).await;

    let words = next_prompt(&host, &model).await;
    assert!(words.contains(&build_name(3)) && words.contains("stern"), "{words}");
}

#[tokio::test]
async fn a_changed_card_is_used_in_the_next_turn_of_the_same_conversation() {
    let model = MockModel::start().await;
    let setup = Setup::model(&model)
        .and("[plugins.elara]\nsource = \"builtin:card\"\nsettings = { card = { file = \"elara.json\" } }\n")
        .beside("elara.json", card("She keeps a lighthouse.").as_bytes());
    let host = setup.start().await;
    model.next(Answer::says("The lamp is lit."));
    let first = host.client().say("Who are you?").await;
    let before = model.request(0).await;
    assert!(system_prompt(&before).contains("lighthouse"), "{before:?}");

    fs::write(host.folder().join("elara.json"), card("She sails a ship.")).unwrap();
    generation(&host, 2).await;
    host.client().say_in(first["conversation_id"].as_str().unwrap(), "And now?").await;

    let after = model.request(1).await;
    assert!(
        system_prompt(&after).contains("ship") && !system_prompt(&after).contains("lighthouse"),
        "{after:?}"
    );
    let earlier = after.messages().into_iter().any(|(_, text)| text.contains("The lamp is lit."));
    assert!(earlier, "the earlier reply is remembered: {after:?}");
}

#[tokio::test]
async fn a_changed_secret_is_used_from_the_next_request() {
    let model = MockModel::start().await;
    let value = format!("value = \"Bearer {}\"", model.key());
    let plugin = model.plugin("mock", "").replace(&value, "value_file = \"key.txt\"");
    let companion = "[companions.elara]\npersona = \"elara\"\nmodels = [\"mock\"]\n";
    let host = Setup::file(companion).and(&plugin).beside("key.txt", b"Bearer of-yesterday").start().await;
    let refused = host.client().chat(&json!({ "message": "Hello." })).send().await;
    assert_ne!(refused.status, 200);

    fs::write(host.folder().join("key.txt"), format!("Bearer {}\n", model.key())).unwrap();
    let status = generation(&host, 2).await;

    host.client().say("Hello.").await;
    assert!(!host.log().contains(model.key()) && !status.to_string().contains(model.key()));
}

#[tokio::test]
async fn a_setting_that_needs_a_restart_is_reported_as_a_warning() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).and("[turn]\nwait = \"20s\"\n").start().await;
    let file = host.folder().join("masque.toml");
    let before = status(&host).await;

    fs::write(&file, fs::read_to_string(&file).unwrap().replace("20s", "21s")).unwrap();

    host.logged("takes effect at the next start").await;
    let after = status(&host).await;
    assert_eq!(after["reload"]["outcome"], "applied");
    let problem = after["reload"]["problems"][0].as_str().unwrap();
    assert!(problem.contains("[turn]") && !problem.contains("[server]"), "{problem}");
    assert_eq!(after["generation"], 1, "nothing else has changed");
    assert_eq!(
        after["configuration"], before["configuration"],
        "the digest is that of the configuration in effect"
    );
}

#[tokio::test]
async fn a_file_that_is_rewritten_with_the_same_content_makes_no_generation() {
    let model = MockModel::start().await;
    let setup = Setup::file(SPEAKER).and(&model.plugin("mock", ""));
    let host = with_plugin(setup, "speaker", &build(1)).start().await;

    replace_by_rename(&plugin_file(&host, "speaker"), &build(1));
    fs::write(host.folder().join("masque.toml"), fs::read(host.folder().join("masque.toml")).unwrap())
        .unwrap();
    replace_by_rename(&plugin_file(&host, "other"), &build(1));

    let status = generation(&host, 2).await;
    assert_eq!(digest(&status, "other"), digest(&status, "speaker"));
}

#[tokio::test]
async fn the_check_reads_the_plugins_folder_like_the_host() {
    let model = MockModel::start().await;
    let toml = "[plugins.named]\nsource = \"named.wasm\"\n";
    let setup = Setup::defaults().and(SPEAKER).and(&model.plugin("mock", "")).and(toml);
    let setup = setup.beside("named.wasm", &build(1)).environment("MASQUE_DATA", "data");
    let setup = with_plugin(with_plugin(setup, "speaker", &build(1)), "named", &build(2));

    let checked = setup.check().await;

    assert!(checked.status.success(), "{}", checked.text);
    assert!(checked.text.contains("speaker: data/plugins/speaker.wasm"), "{}", checked.text);
    let warning = checked.text.lines().find(|line| line.contains("data/plugins/named.wasm is ignored"));
    assert!(warning.is_some_and(|line| line.contains("warning: ")), "{}", checked.text);

    let broken = with_plugin(Setup::defaults().environment("MASQUE_DATA", "data"), "Not a name", b"");
    let broken = with_plugin(broken, "broken", b"no component");
    let checked = broken.check().await;
    assert!(!checked.status.success(), "{}", checked.text);
    for file in ["data/plugins/Not a name.wasm", "data/plugins/broken.wasm"] {
        assert!(checked.text.lines().any(|line| line.starts_with(file)), "{file} in {}", checked.text);
    }
}
