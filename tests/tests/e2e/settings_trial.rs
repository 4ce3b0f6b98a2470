//! A plugin that breaks with its settings is refused before they take effect.

use std::fs;

use masque_tests::{Setup, eventually, fixture};

const COMPANION: &str = "[companions.ida]\npersona = \"ida\"\nmodels = [\"offline\"]\n";

/// A host whose persona misbehaves in its trial in the way that the file `how.txt` names.
fn misbehaving(how: &str, more: &str) -> Setup {
    let source = fixture("breaks-a-call");
    let plugin = format!(
        "[plugins.ida]\nsource = {source:?}\nsettings = {{ behaviour = {{ file = \"how.txt\" }}, in_trial = true }}\n{more}\n"
    );
    Setup::file(COMPANION).and(&plugin).beside("how.txt", how.as_bytes())
}

#[tokio::test]
async fn a_plugin_that_breaks_with_its_settings_is_refused_with_file_and_reason() {
    let table: [(&str, &str, &[&str]); 6] = [
        ("panics", "", &["`compose` trapped", "there is no behaviour 100000"]),
        ("traps", "", &["`compose` trapped", "unreachable"]),
        // A trial lasts two seconds longer than twice this, in which a busy machine has to give it this much.
        ("spins", "limits.cpu = \"100ms\"", &["100 ms of CPU", "limit `cpu`"]),
        ("recurses", "", &["stack"]),
        ("says-nothing", "", &["broke the contract", "no message"]),
        ("greets-as-the-user", "", &["`greet` broke the contract", "`assistant`"]),
    ];
    for (how, more, words) in table {
        let setup = misbehaving(how, more);
        let mut refused = vec![setup.check().await];
        if how == "panics" {
            refused.push(setup.serve_to_end().await);
        }
        for refused in refused {
            assert!(!refused.status.success(), "{how} was taken: {}", refused.text);
            let known = ["masque.toml:", "the settings of plugin `ida` (how.txt) can't be used"];
            for words in known.iter().chain(words) {
                assert!(refused.text.contains(words), "{words} is not in:\n{}", refused.text);
            }
        }
    }
}

#[tokio::test]
async fn a_plugin_that_breaks_with_changed_settings_is_refused_at_reload() {
    let host = misbehaving("logs-many-lines", "").start().await;
    fs::write(host.folder().join("how.txt"), "panics").unwrap();
    let problems = eventually("a refusal", || async {
        let status = host.client().get("/status").send().await.expect(200);
        let reload = &status["reload"];
        (reload["outcome"] == "refused").then(|| reload["problems"].to_string())
    })
    .await;
    assert!(problems.contains("how.txt") && problems.contains("there is no behaviour"), "{problems}");
    host.client().say("Hello.").await;
}

#[tokio::test]
async fn a_memory_whose_background_function_breaks_with_its_settings_is_refused() {
    let source = fixture("counts-exchanges");
    let with = |unusable: bool| {
        Setup::file(&format!(
            "[plugins.counting]\nsource = {source:?}\nsettings.unusable = {unusable}\ngrants.state = true\n"
        ))
    };
    let refused = with(true).check().await;
    assert!(!refused.status.success(), "taken: {}", refused.text);
    for words in [
        "the setting `unusable` of plugin `counting` can't be used",
        "`observe` trapped",
        "the setting can't",
    ] {
        assert!(refused.text.contains(words), "{words} is not in:\n{}", refused.text);
    }
    let checked = with(false).check().await;
    assert!(checked.status.success() && !checked.text.contains("warning"), "{}", checked.text);
}

#[tokio::test]
async fn a_plugin_that_fails_for_want_of_a_grant_is_named_with_the_line_to_add() {
    let counting = fixture("counts-exchanges");
    let setup = Setup::file(&format!(
        "[plugins.counting]\nsource = {counting:?}\n\n[plugins.openai]\nsource = \"builtin:openai\"\n\
         settings = {{ base_url = \"https://b.test/v1\", model = \"m\" }}\ngrants = {{ http = [\"https://a.test\"] }}\n"
    ));
    let checked = setup.check().await;
    assert!(checked.status.success(), "{}", checked.text);
    for words in [
        "warning: `observe` of plugin `counting` failed: it needs the grant `state`",
        "Add `grants = { state = true }` to [plugins.counting].",
        "warning: `generate` of plugin `openai` failed: no `http` grant allows its POST to https://b.test",
        "Add \"https://b.test\" to `http` in the grants of [plugins.openai]",
    ] {
        assert!(checked.text.contains(words), "{words} is not in:\n{}", checked.text);
    }
}
