//! Mistakes of the operator: all of them at once, each with its line and what to do, before anything is touched.

use masque_tests::{CommandOutput, Setup};

/// `check` and `serve` both refuse, in the same words; those words.
async fn refused(setup: &Setup) -> String {
    let checked = setup.check().await;
    assert!(!checked.status.success(), "`masque check` accepted it: {}", checked.text);
    let served = setup.serve_to_end().await;
    assert!(!served.status.success(), "`masque serve` accepted it: {}", served.text);
    for line in checked.text.lines().filter(|line| line.starts_with("masque.toml:")) {
        assert!(served.text.contains(line), "`serve` does not say {line:?}:\n{}", served.text);
    }
    checked.text
}

/// The line of the report about `masque.toml:LINE:`.
fn about(report: &str, line: usize) -> &str {
    let start = format!("masque.toml:{line}:");
    report.lines().find(|text| text.starts_with(&start)).unwrap_or_else(|| panic!("no {start} in:\n{report}"))
}

#[tokio::test]
async fn defaults_and_a_good_file_pass_the_check_and_leave_nothing_behind() {
    for setup in [Setup::defaults(), Setup::file("[turn]\ntimeout = \"30s\"")] {
        let CommandOutput { status, text } = setup.check().await;
        assert!(status.success(), "{text}");
        assert!(!setup.folder().join("masque-data").exists(), "a check makes no data folder");
    }
}

#[tokio::test]
async fn every_mistake_is_reported_at_once_with_its_line_and_a_remedy() {
    let setup = Setup::file(
        r#"[server]
listen = "here"
boddy_timeout = "1s"
max_message_bytes = -1

[stream]
hold = "soon"

[companions.elara]
persona = "elera"
memory = "window"
models = []

[companions."Not a name"]
persona = "elara"

[plugins.mock]
source = "builtin:opnai"
grants = { htp = [] }

[credentials.mock]
origin = "ftp://example.org"
header = "authorization"
value = "Bearer ${NO_SUCH_VARIABLE}"

[log]
level = "loud"
"#,
    );
    let report = refused(&setup).await;

    assert!(about(&report, 2).contains("listen"));
    let unknown = about(&report, 3);
    assert!(
        unknown.contains("boddy_timeout") && unknown.contains("body_timeout"),
        "the nearest key: {unknown}"
    );
    assert!(about(&report, 4).contains("max_message_bytes"));
    assert!(about(&report, 7).contains("hold"));
    let persona = about(&report, 10);
    assert!(persona.contains("elera") && persona.contains("elara"), "the nearest plugin: {persona}");
    about(&report, 12);
    assert!(about(&report, 14).contains("Not a name"));
    let source = about(&report, 18);
    assert!(source.contains("openai"), "the nearest source: {source}");
    assert!(about(&report, 19).contains("http"));
    about(&report, 22);
    assert!(about(&report, 24).contains("NO_SUCH_VARIABLE"));
    about(&report, 27);
}

#[tokio::test]
async fn a_file_that_is_not_toml_is_refused_with_the_place_where_reading_stopped() {
    let report = refused(&Setup::file("[server]\nlisten = \"127.0.0.1:8000\n")).await;
    about(&report, 2);
}

#[tokio::test]
async fn a_plugin_in_the_wrong_place_is_refused() {
    let toml = "[companions.elara]\npersona = \"window\"\nmemory = \"elara\"\nmodels = [\"elara\"]\n";
    let report = refused(&Setup::file(toml)).await;
    assert!(about(&report, 2).contains("memory"), "it says what the plugin is");
    assert!(about(&report, 3).contains("persona"));
    about(&report, 4);
}

#[tokio::test]
async fn settings_that_the_plugin_does_not_take_are_refused_by_its_own_schema() {
    let toml = r#"[companions.elara]
persona = "elara"
models = ["mock"]

[plugins.mock]
source = "builtin:openai"

[plugins.mock.settings]
base_url = "http://127.0.0.1:9/v1"
model = 7
"#;
    let report = refused(&Setup::file(toml)).await;
    assert!(about(&report, 10).contains("model"));
}

#[tokio::test]
async fn a_setting_whose_file_is_missing_or_wrong_is_refused() {
    let toml = "[plugins.elara]\nsource = \"builtin:card\"\nsettings = { card = { file = \"cards/nobody.json\" } }\n";
    let report = refused(&Setup::file(toml)).await;
    assert!(about(&report, 3).contains("cards/nobody.json"));
}

#[tokio::test]
async fn a_component_that_is_none_is_refused() {
    let toml = "[companions.elara]\npersona = \"elara\"\nmodels = [\"mine\"]\n\n[plugins.mine]\nsource = \"mine.wasm\"\n";
    let report = refused(&Setup::file(toml).beside("mine.wasm", b"not a component")).await;
    assert!(about(&report, 6).contains("mine.wasm"));
}

#[tokio::test]
async fn an_environment_that_is_none_of_the_four_is_refused() {
    let setup = Setup::defaults().environment("ENVIRONMENT", "prod");
    let report = refused(&setup).await;
    assert!(report.contains("ENVIRONMENT") && report.contains("production"), "{report}");
}

#[tokio::test]
async fn a_configuration_file_that_is_not_there_is_refused() {
    let setup = Setup::defaults();
    let CommandOutput { status, text } = setup.run(&["check", "--config", "nowhere.toml"]).await;
    assert!(!status.success());
    assert!(text.contains("nowhere.toml"), "{text}");
}

#[tokio::test]
async fn a_data_folder_in_use_is_refused_and_the_host_in_it_goes_on() {
    let host = Setup::defaults().start().await;
    let second = Setup::defaults().on_data(host.data());

    let CommandOutput { status, text } = second.serve_to_end().await;

    assert!(!status.success());
    assert!(text.contains("data"), "it names the folder: {text}");
    assert!(text.contains("in use") || text.contains("another host"), "{text}");
    host.client().say("Still there?").await;
}

#[tokio::test]
async fn a_data_folder_that_is_a_file_is_refused() {
    let setup = Setup::defaults().beside("data", b"not a folder");
    let CommandOutput { status, text } = setup.serve_to_end().await;
    assert!(!status.success());
    assert!(text.contains("data"), "{text}");
}

#[tokio::test]
async fn an_address_in_use_is_refused_with_the_address() {
    let host = Setup::defaults().start().await;
    let second = Setup::defaults();
    let CommandOutput { status, text } =
        second.run(&["serve", "--listen", host.address(), "--data", "elsewhere"]).await;
    assert!(!status.success());
    assert!(text.contains(host.address()), "{text}");
}

#[tokio::test]
async fn variables_overrule_the_file_and_flags_overrule_both() {
    // None of these can be listened on, and the refusal names the one that was tried.
    let file = "[server]\nlisten = \"127.255.255.255:1\"\n";
    let plain = Setup::file(file).run(&["check"]).await.text;
    assert!(plain.contains("127.255.255.255:1"), "{plain}");
    let setup = Setup::file(file).environment("MASQUE_LISTEN", "127.0.0.1:2");
    let by_variable = setup.run(&["check"]).await.text;
    assert!(by_variable.contains("127.0.0.1:2"), "{by_variable}");
    let by_flag = setup.run(&["check", "--listen", "127.0.0.1:3"]).await.text;
    assert!(by_flag.contains("127.0.0.1:3"), "{by_flag}");
}

#[tokio::test]
async fn mistakes_that_only_a_component_knows_are_told_with_all_the_others() {
    let file = "[server]\nlisen = \"127.0.0.1:1\"\n\n[plugins.offline]\nsource = \"builtin:offline\"\n\
                settings = { sed = 7 }\n\n[plugins.window]\nsource = \"builtin:window\"\nlimits = { wal = \"1s\" }\n\n\
                [companions.elara]\npersona = \"window\"\nmodels = [\"offline\"]\n";
    for command in ["check", "serve"] {
        let CommandOutput { status, text } = Setup::file(file).run(&[command]).await;
        assert!(!status.success());
        for line in ["masque.toml:2:", "masque.toml:6:", "masque.toml:10:"] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        // What is wrong already is not also said to be of the wrong kind.
        assert!(!text.contains("masque.toml:13:"), "{text}");
    }
}

#[tokio::test]
async fn a_host_that_logs_nothing_says_where_it_listens_all_the_same() {
    // Coming up is what is shown: the address is read from what the host writes.
    let host = Setup::file("[log]\nlevel = \"off\"").start().await;
    assert_eq!(host.log(), format!("listening on http://{}\n", host.address()));
}
