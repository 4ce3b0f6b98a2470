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
    // A workflow of this repository has the commit that runs.
    for step in steps("uses").into_iter().filter(|step| !step.text.starts_with("$/")) {
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
        // A job that runs another workflow has rights, and its jobs have the limits.
        let jobs = count("\n    runs-on: ") + count("\n    uses: ");
        assert_eq!(count("\n    permissions:\n"), jobs, "{}", file.display());
    }
}

fn workflow(name: &str) -> String {
    std::fs::read_to_string(in_repository(".github/workflows").join(name)).unwrap()
}

/// The lines of a job, without its name.
fn job(file: &str, name: &str) -> String {
    let text = workflow(file);
    let (_, rest) =
        text.split_once(&format!("\n  {name}:\n")).unwrap_or_else(|| panic!("{file} has no job {name}"));
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn an_image_is_tried_and_scanned_before_it_is_pushed() {
    for file in ["deploy.yml", "release.yml"] {
        let job = job(file, "image");
        let mut rest = job.as_str();
        for step in [
            "run: .ci/build-image\n",
            "run: .ci/try-image masque:ci\n",
            "uses: anchore/scan-action@",
            "run: .ci/publish-image ",
        ] {
            (_, rest) =
                rest.split_once(step).unwrap_or_else(|| panic!("{file}: {step:?} is missing or too early"));
        }
    }
    let pushes = steps("run").into_iter().filter(|step| step.text.starts_with(".ci/publish-image")).count();
    assert_eq!(pushes, 2, "another job pushes an image");
}

#[test]
fn a_release_is_made_of_a_commit_that_was_tested_and_scanned() {
    let check = job("release.yml", "check");
    for step in [".ci/version \"$GITHUB_REF_NAME\"", ".ci/scan-secrets", ".ci/scan-dependencies", ".ci/run"] {
        assert!(check.contains(&format!("      - run: {step}\n")), "{step} is missing in {check}");
    }
    for (name, needs) in
        [("binary", "check"), ("image", "check"), ("chart", "[binary, image]"), ("sdk", "[binary, image]")]
    {
        assert!(job("release.yml", name).contains(&format!("    needs: {needs}\n")), "{name}");
    }
}

#[test]
fn staging_waits_for_all_checks_and_needs_its_settings() {
    let image = job("deploy.yml", "image");
    assert!(image.contains("    needs: [ci, scan, settings]\n"), "{image}");
    assert!(image.contains("    if: needs.settings.outputs.configured == 'true'\n"), "{image}");
    assert!(job("deploy.yml", "staging").contains("    needs: image\n"));
    for name in ["ci", "scan"] {
        let called = job("deploy.yml", name);
        assert!(called.contains(&format!("    uses: $/.github/workflows/{name}.yml\n")), "{called}");
        let text = workflow(&format!("{name}.yml"));
        assert!(text.contains("\n  workflow_call:\n"), "{name}.yml can't be called");
        // It would run twice.
        assert!(!text.contains("develop]"), "{name}.yml runs by itself on a push to `develop`");
    }
}

/// What no image is built from.
const NOT_IN_THE_IMAGE: [&str; 17] = [
    ".env.example",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "bench",
    "clippy.toml",
    "deny.toml",
    "docs",
    "examples",
    "fuzz",
    "masque.example.toml",
    "rustfmt.toml",
    "tests",
];

#[test]
fn a_change_of_what_the_image_is_built_from_builds_it() {
    let text = workflow("image.yml");
    let (_, rest) = text.split_once("\n    paths:\n").unwrap();
    let paths: Vec<_> = rest.lines().map_while(|line| line.strip_prefix("      - ")).collect();
    let listed = Command::new("git").arg("ls-files").current_dir(in_repository(".")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let top: BTreeSet<_> = listed.lines().map(|path| path.split('/').next().unwrap()).collect();
    assert!(top.len() > 15, "{top:?}");
    for name in top {
        let is_path = paths.iter().any(|path| *path == name || *path == format!("{name}/**"));
        assert_ne!(is_path, NOT_IN_THE_IMAGE.contains(&name), "{name} is in the filter or in the list");
    }
    // What all crates are resolved from.
    assert!(paths.contains(&"\"**/Cargo.toml\""));
}

#[test]
fn every_server_of_the_tests_has_an_exact_version() {
    let job = job("ci.yml", "servers");
    let lines = job.lines().filter(|line| line.contains("{ postgres:"));
    let images: Vec<_> =
        lines.flat_map(|line| line.split('"')).filter_map(|word| word.split_once(':')).collect();
    let versions = |name: &str| images.iter().filter(|(image, _)| *image == name).count();
    assert!(versions("postgres") > 1 && versions("redis") > 1 && versions("valkey/valkey") > 1, "{images:?}");
    for (image, tag) in images.iter().filter(|(_, tag)| !tag.starts_with(' ')) {
        let parts = if *image == "postgres" { 2 } else { 3 };
        let numbers: Vec<_> = tag.split('.').filter(|part| part.parse::<u32>().is_ok()).collect();
        assert_eq!(numbers.len(), parts, "{image}:{tag}");
    }
}

#[test]
fn the_long_tests_run_with_the_rust_of_the_image() {
    let dockerfile = std::fs::read_to_string(in_repository("deploy/Dockerfile")).unwrap();
    let (_, rest) = dockerfile.split_once(" rust:").unwrap();
    let rust = rest.split('-').next().unwrap();
    let job = job("ci.yml", "full");
    assert!(job.contains(&format!("RUSTUP_TOOLCHAIN: \"{rust}\"\n")), "{job}");
    assert!(job.contains(&format!("run: .ci/toolchain {rust}\n")), "{job}");
    assert!(job.contains("run: .ci/long-tests\n"), "{job}");
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
