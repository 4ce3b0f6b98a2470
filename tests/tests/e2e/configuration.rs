//! `masque check` and the start of a host with an invalid configuration: all mistakes are reported at once, each with its
//! line and a remedy, and nothing is changed on the machine.

use masque_tests::{CommandOutput, Setup};

/// Asserts that `check` and `serve` both refuse with the same lines, and returns the report of `check`.
async fn report_of(setup: &Setup) -> String {
    let checked = setup.check().await;
    assert!(!checked.status.success(), "`masque check` accepted it: {}", checked.text);
    let served = setup.serve_to_end().await;
    assert!(!served.status.success(), "`masque serve` accepted it: {}", served.text);
    for line in checked.text.lines().filter(|line| line.starts_with("masque.toml:")) {
        assert!(served.text.contains(line), "`serve` does not say {line:?}:\n{}", served.text);
    }
    checked.text
}

/// The diagnostic at this line of `masque.toml`.
fn diagnostic_at(report: &str, line: usize) -> &str {
    let start = format!("masque.toml:{line}:");
    report.lines().find(|text| text.starts_with(&start)).unwrap_or_else(|| panic!("no {start} in:\n{report}"))
}

#[tokio::test]
async fn defaults_and_a_valid_file_pass_the_check_without_a_trace_on_disk() {
    for setup in [Setup::defaults(), Setup::file("[turn]\ntimeout = \"30s\"")] {
        let CommandOutput { status, text } = setup.check().await;
        assert!(status.success(), "{text}");
        assert!(!setup.folder().join("masque-data").exists(), "a check makes no data folder");
    }
}

#[tokio::test]
async fn a_data_folder_that_no_host_can_use_fails_the_check_and_one_in_use_passes() {
    let mut host = Setup::defaults().start().await;
    let data = host.data().to_str().unwrap().to_owned();
    let check = ["check", "--data", data.as_str()];
    let used = host.run(&check).await;
    assert!(used.status.success(), "{}", used.text);
    // Stopped and not killed, so that no log is left from which SQLite would read instead.
    host.terminate();
    host.ended().await;

    for (name, content) in [("masque.db", "this is a diary, ".repeat(500)), ("masque.lock", String::new())] {
        let path = host.data().join(name);
        std::fs::remove_file(&path).unwrap();
        match content.as_str() {
            "" => std::fs::create_dir(&path).unwrap(),
            content => std::fs::write(&path, content).unwrap(),
        }
        let refused = host.run(&check).await;
        assert_eq!(refused.status.code(), Some(1), "{}", refused.text);
        assert!(refused.text.contains("the data") && refused.text.contains("--data"), "{}", refused.text);
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
    let report = report_of(&setup).await;

    assert!(diagnostic_at(&report, 2).contains("listen"));
    let unknown = diagnostic_at(&report, 3);
    assert!(
        unknown.contains("boddy_timeout") && unknown.contains("body_timeout"),
        "the nearest key: {unknown}"
    );
    assert!(diagnostic_at(&report, 4).contains("max_message_bytes"));
    assert!(diagnostic_at(&report, 7).contains("hold"));
    let persona = diagnostic_at(&report, 10);
    assert!(persona.contains("elera") && persona.contains("elara"), "the nearest plugin: {persona}");
    diagnostic_at(&report, 12);
    assert!(diagnostic_at(&report, 14).contains("Not a name"));
    let source = diagnostic_at(&report, 18);
    assert!(source.contains("openai"), "the nearest source: {source}");
    assert!(diagnostic_at(&report, 19).contains("http"));
    diagnostic_at(&report, 22);
    assert!(diagnostic_at(&report, 24).contains("NO_SUCH_VARIABLE"));
    diagnostic_at(&report, 27);
}

#[tokio::test]
async fn a_file_that_is_not_toml_is_refused_with_the_line_of_the_syntax_error() {
    let report = report_of(&Setup::file("[server]\nlisten = \"127.0.0.1:8000\n")).await;
    diagnostic_at(&report, 2);
}

#[tokio::test]
async fn a_plugin_of_the_wrong_kind_is_refused() {
    let toml = "[companions.elara]\npersona = \"window\"\nmemory = \"elara\"\nmodels = [\"elara\"]\n";
    let report = report_of(&Setup::file(toml)).await;
    assert!(diagnostic_at(&report, 2).contains("memory"), "it says what the plugin is");
    assert!(diagnostic_at(&report, 3).contains("persona"));
    diagnostic_at(&report, 4);
}

#[tokio::test]
async fn settings_that_the_schema_of_the_plugin_forbids_are_refused() {
    let toml = r#"[companions.elara]
persona = "elara"
models = ["mock"]

[plugins.mock]
source = "builtin:openai"

[plugins.mock.settings]
base_url = "http://127.0.0.1:9/v1"
model = 7
"#;
    let report = report_of(&Setup::file(toml)).await;
    assert!(diagnostic_at(&report, 10).contains("model"));
}

#[tokio::test]
async fn a_setting_that_names_a_missing_file_is_refused() {
    let toml = "[plugins.elara]\nsource = \"builtin:card\"\nsettings = { card = { file = \"cards/nobody.json\" } }\n";
    let report = report_of(&Setup::file(toml)).await;
    assert!(diagnostic_at(&report, 3).contains("cards/nobody.json"));
}

#[tokio::test]
async fn a_file_that_is_not_a_component_is_refused() {
    let toml = "[companions.elara]\npersona = \"elara\"\nmodels = [\"mine\"]\n\n[plugins.mine]\nsource = \"mine.wasm\"\n";
    let report = report_of(&Setup::file(toml).beside("mine.wasm", b"not a component")).await;
    assert!(diagnostic_at(&report, 6).contains("mine.wasm"));
}

#[tokio::test]
async fn an_unknown_environment_is_refused() {
    let setup = Setup::defaults().environment("ENVIRONMENT", "prod");
    let report = report_of(&setup).await;
    assert!(report.contains("ENVIRONMENT") && report.contains("production"), "{report}");
}

#[tokio::test]
async fn a_missing_configuration_file_is_refused() {
    let setup = Setup::defaults();
    let CommandOutput { status, text } = setup.run(&["check", "--config", "nowhere.toml"]).await;
    assert!(!status.success());
    assert!(text.contains("nowhere.toml"), "{text}");
}

#[tokio::test]
async fn a_data_folder_in_use_is_refused_and_the_first_host_keeps_running() {
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
async fn an_address_in_use_is_refused_and_named() {
    let host = Setup::defaults().start().await;
    let second = Setup::defaults();
    let CommandOutput { status, text } =
        second.run(&["serve", "--listen", host.address(), "--data", "elsewhere"]).await;
    assert!(!status.success());
    assert!(text.contains(host.address()), "{text}");
}

#[tokio::test]
async fn variables_take_precedence_over_the_file_and_flags_over_both() {
    // `check` prints the address that is in effect.
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
async fn mistakes_that_only_the_component_finds_are_reported_with_the_others() {
    let file = "[server]\nlisen = \"127.0.0.1:1\"\n\n[plugins.offline]\nsource = \"builtin:offline\"\n\
                settings = { sed = 7 }\n\n[plugins.window]\nsource = \"builtin:window\"\nlimits = { wal = \"1s\" }\n\n\
                [companions.elara]\npersona = \"window\"\nmodels = [\"offline\"]\n";
    for command in ["check", "serve"] {
        let CommandOutput { status, text } = Setup::file(file).run(&[command]).await;
        assert!(!status.success());
        for line in ["masque.toml:2:", "masque.toml:6:", "masque.toml:10:"] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        // A plugin with a mistake is not loaded, so its kind is not reported as a second mistake.
        assert!(!text.contains("masque.toml:13:"), "{text}");
    }
}

#[tokio::test]
async fn a_host_without_a_log_prints_its_address() {
    // `start` reads the address from the output of the host.
    let host = Setup::file("[log]\nlevel = \"off\"").start().await;
    assert_eq!(host.log(), format!("listening on http://{}\n", host.address()));
}
