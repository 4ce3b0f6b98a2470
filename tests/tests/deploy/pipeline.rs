//! The workflows: what they run exists, and passes the linters. Their scripts do what they say, called with
//! programs that only write down how they are called.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use masque_tests::Setup;
use masque_tests::deploy::{files_in, in_repository};

/// A step of a job: its workflow and line, and what stands behind `run:` or `uses:`.
struct Step {
    place: String,
    text: String,
}

/// The steps with this key (`run` or `uses`) in all workflows.
fn steps(key: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for file in files_in(".github/workflows", "yml") {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for (number, line) in std::fs::read_to_string(&file).unwrap().lines().enumerate() {
            let item = line.trim_start().trim_start_matches("- ");
            if let Some(text) = item.strip_prefix(&format!("{key}: ")) {
                steps.push(Step { place: format!("{name}:{}", number + 1), text: text.to_owned() });
            }
        }
    }
    assert!(steps.len() > 10, "the steps are not found");
    steps
}

/// Runs a script of the repository; returns whether it succeeded, and what it printed.
fn script(words: &[&str]) -> (bool, String) {
    let (program, arguments) = words.split_first().unwrap();
    let output = Command::new(in_repository(program))
        .args(arguments)
        .current_dir(in_repository("."))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn passes(words: &[&str]) {
    let (passed, text) = script(words);
    assert!(passed, "{words:?} fails:\n{text}");
}

#[test]
fn workflows_and_scripts_pass_their_linters() {
    passes(&[".ci/lint-pipeline"]);
}

#[test]
fn every_step_runs_a_command_that_is_tested() {
    for step in steps("run") {
        let tested = step.text.starts_with(".ci/")
            || step.text.starts_with("deploy/")
            || step.text.starts_with("cargo xtask ")
            || step.text == "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
        assert!(tested, "{}: {:?} is no script of the repository", step.place, step.text);
        assert!(!step.text.contains(['|', ';', '&']), "{}: put {:?} into a script", step.place, step.text);
    }
}

#[test]
fn every_script_that_a_workflow_runs_exists_and_can_be_executed() {
    let scripts: BTreeSet<_> = steps("run")
        .into_iter()
        .filter_map(|step| step.text.split(' ').next().filter(|word| word.contains('/')).map(str::to_owned))
        .collect();
    assert!(scripts.len() > 10, "the scripts are not found");
    for name in scripts {
        let mode = std::fs::metadata(in_repository(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(mode.permissions().mode() & 0o111, 0o111, "{name} can't be executed");
    }
}

#[test]
fn every_action_is_pinned_to_a_commit_and_names_its_version() {
    for step in steps("uses") {
        let (action, version) =
            step.text.split_once(" # v").unwrap_or_else(|| panic!("{}: no version", step.place));
        let (_, commit) = action.split_once('@').unwrap();
        assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", step.place);
        assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{}", step.place);
    }
}

#[test]
fn every_job_has_a_time_limit_and_states_its_rights() {
    for file in files_in(".github/workflows", "yml") {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("\npermissions: {}\n"), "{}: rights for all jobs", file.display());
        let (_, jobs) = text.split_once("\njobs:\n").unwrap();
        let count = |needle: &str| jobs.matches(needle).count();
        assert_eq!(count("\n    timeout-minutes: "), count("\n    runs-on: "), "{}", file.display());
        assert_eq!(count("\n    permissions:\n"), count("\n    runs-on: "), "{}", file.display());
    }
}

#[test]
fn the_scripts_of_jobs_do_what_their_jobs_say() {
    let tests = in_repository("tests/tests/deploy/pipeline/scripts.py");
    let output = Command::new("python3").arg(tests).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_script_of_a_job_is_tested() {
    let tests = std::fs::read_to_string(in_repository("tests/tests/deploy/pipeline/scripts.py")).unwrap();
    // Programs of PyPI are needed for these: tests below run them.
    let here = ["lint-pipeline", "scan-secrets", "run"];
    for step in steps("run") {
        let Some(name) = step.text.strip_prefix(".ci/").and_then(|rest| rest.split(' ').next()) else {
            continue;
        };
        let tested = here.contains(&name) || tests.contains(&format!("\"{name}\""));
        assert!(tested, "{}: {name} has no test", step.place);
    }
}

#[test]
fn no_file_holds_a_secret() {
    passes(&[".ci/scan-secrets"]);
}

#[test]
fn a_key_that_someone_adds_is_found_before_and_after_it_is_committed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let git = |words: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        let status = Command::new("git").args(identity).args(words).current_dir(&folder).status().unwrap();
        assert!(status.success(), "git {words:?}");
    };
    git(&["init", "--quiet"]);
    let made = rcgen::KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(folder.path().join("key.pem"), made).unwrap();
    let path = folder.path().to_str().unwrap();

    let (clean, text) = script(&[".ci/scan-secrets", path]);
    assert!(!clean && text.contains("key.pem"), "{text}");
    git(&["add", "key.pem"]);
    git(&["commit", "--quiet", "--message", "Add"]);
    git(&["rm", "--quiet", "key.pem"]);
    git(&["commit", "--quiet", "--message", "Remove"]);
    passes(&[".ci/scan-secrets", path]);
    let (clean, text) = script(&[".ci/scan-secrets", "--history", path]);
    assert!(!clean && text.contains("key.pem"), "{text}");
}

#[tokio::test]
async fn manifests_chart_image_description_changelog_and_binary_have_one_version() {
    let (equal, text) = script(&[".ci/version"]);
    assert!(equal, "{text}");
    let said = Setup::defaults().run(&["--version"]).await;
    assert_eq!(said.text.trim(), format!("masque {}", text.trim()));
}

#[test]
fn alertmanager_accepts_the_example_configuration() {
    let folder = in_repository("deploy/alertmanager");
    let mut checked = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if !is_yaml(&path) {
            continue;
        }
        let output = Command::new("amtool").arg("check-config").arg(&path).current_dir(&folder).output();
        let output = output.expect("amtool is installed by `cargo xtask test`");
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
        checked += 1;
    }
    assert!(checked > 0, "{} has no configuration", folder.display());
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}
