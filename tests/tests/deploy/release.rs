//! `deploy/release`, over programs that stand for a cluster (`release/cluster`): what it does, and that it puts back what was
//! there before, whatever fails.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Stdio;

use masque_tests::Setup;
use masque_tests::deploy::in_repository;
use tempfile::TempDir;
use tokio::process::Command;

/// A cluster in a folder.
struct Cluster {
    folder: TempDir,
    url: String,
}

/// How a release ended.
struct Ended {
    code: i32,
    log: String,
    /// The calls of programs.
    calls: String,
}

impl Cluster {
    /// A cluster without a release, in which these steps fail.
    fn empty(failures: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("failures"), failures.join("\n") + "\n").unwrap();
        let cluster = Self { folder, url: "https://masque.example.com".to_owned() };
        for program in ["helm", "kubectl", "curl", "sleep"] {
            cluster.stand_in_for(program);
        }
        cluster
    }

    /// A cluster with revision 4 of the release, whose active set has the same number.
    fn with_release(failures: &[&str]) -> Self {
        let cluster = Self::empty(failures);
        let history = r#"[{"revision":3,"updated":"","status":"superseded","chart":"masque-0.1.0"},{"revision":4,"updated":"","status":"deployed","chart":"masque-0.1.0"}]"#;
        std::fs::write(cluster.path("history.json"), history).unwrap();
        let configuration = "[active_set]\nrevision = 4\n\n[companions.elara]\nrevision = 1\n";
        std::fs::write(cluster.path("masque.toml"), configuration).unwrap();
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn stand_in_for(&self, program: &str) {
        let bin = self.path("bin");
        std::fs::create_dir_all(&bin).unwrap();
        symlink(in_repository("tests/tests/deploy/release/cluster"), bin.join(program)).unwrap();
    }

    /// Releases with these words behind the environment.
    async fn release_with(&self, words: &[&str]) -> Ended {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(in_repository("deploy/release"));
        command
            .args(words)
            .env("PATH", path)
            .env("CLUSTER", self.folder.path())
            .env("TMPDIR", self.folder.path());
        command
            .env("MASQUE_API_KEY", "msq_key")
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command.output().await.unwrap();
        let calls = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        Ended {
            code: output.status.code().expect("it was killed"),
            log: String::from_utf8(output.stderr).unwrap(),
            calls,
        }
    }

    async fn release(&self) -> Ended {
        let values = in_repository("deploy/helm/masque/ci/sqlite-values.yaml");
        let values = values.to_str().unwrap();
        let options = ["--values", values, "--timeout", "30", "--", "--set", "image.tag=1 2"];
        self.release_with(&[&["staging", "--url", &self.url], options.as_slice()].concat()).await
    }

    fn configuration(&self) -> String {
        std::fs::read_to_string(self.path("masque.toml")).unwrap_or_default()
    }

    fn has_files_of_secrets(&self) -> bool {
        let names = std::fs::read_dir(self.folder.path()).unwrap();
        names.map(|entry| entry.unwrap().file_name()).any(|name| name.to_string_lossy().starts_with("tmp."))
    }
}

impl Ended {
    /// The first words of the calls that change the cluster.
    fn changes(&self) -> Vec<&str> {
        let changes = |line: &&str| {
            let line = line.split(" --").next().unwrap();
            ["helm upgrade", "helm rollback", "helm uninstall", "kubectl apply"]
                .iter()
                .any(|each| line.starts_with(each))
        };
        let lines = self.calls.lines().filter(changes).filter(|line| !line.contains("--dry-run=server"));
        lines.map(|line| line.split(" --").next().unwrap()).collect()
    }
}

#[tokio::test]
async fn a_release_migrates_upgrades_waits_and_has_a_turn() {
    let cluster = Cluster::with_release(&[]);
    let ended = cluster.release().await;
    assert_eq!(ended.code, 0, "{}", ended.log);
    assert!(ended.log.ends_with("masque is in use in masque-staging, revision 5\n"), "{}", ended.log);
    assert_eq!(ended.changes(), ["helm upgrade"]);
    let upgrade = ended.calls.lines().find(|line| line.contains("--wait")).unwrap();
    for words in [
        "--namespace masque-staging",
        "/sqlite-values.yaml",
        "--set image.tag=1 2",
        "--set environment=staging",
        "--timeout 30s",
    ] {
        assert!(upgrade.contains(words), "{words}: {upgrade}");
    }
    // Checked first; ready three times; a token, a turn, and its conversation is deleted.
    let steps =
        ["--dry-run=server", "--wait", "/readyz", "/readyz", "/readyz", "/auth/token", "/chat", "DELETE"];
    let mut rest = ended.calls.as_str();
    for step in steps {
        let (_, after) =
            rest.split_once(step).unwrap_or_else(|| panic!("{step} is missing in {}", ended.calls));
        rest = after;
    }
    // Others can see command lines.
    assert!(!ended.calls.contains("msq_key") && !ended.calls.contains("token-of-a-user"), "{}", ended.calls);
    assert!(!cluster.has_files_of_secrets());
}

#[tokio::test]
async fn whatever_fails_the_release_before_is_put_back() {
    // The step that fails, what it says, and whether the new companions may be in use already.
    let table = [
        ("migration", "the upgrade failed", false),
        ("upgrade", "the upgrade failed", true),
        ("ready", "the last answer was 503", true),
        ("token", "the key gets no token", true),
        ("chat", "a turn fails", true),
        ("turn", "its last event is turn.failed", true),
        ("signal", "stopped by a signal", true),
    ];
    for (step, words, is_published) in table {
        let cluster = Cluster::with_release(&[step]);
        let ended = cluster.release().await;
        assert_eq!(ended.code, 1, "{step}: {}", ended.log);
        assert!(ended.log.contains(words), "{step}: {}", ended.log);
        assert!(ended.log.ends_with("revision 4 is in use again\n"), "{step}: {}", ended.log);
        // The rollback removes the pods that tell why. What serves or ends is not shown: its log has addresses of clients.
        let (before, _) = ended.calls.split_once("helm rollback").unwrap();
        assert!(before.contains("kubectl logs masque-2 "), "{step}: {before}");
        assert!(ended.log.contains("CrashLoopBackOff\n") && ended.log.contains("the reason of masque-2\n"));
        assert_eq!(ended.calls.matches("kubectl logs ").count(), 1, "{step}: {}", ended.calls);
        let applied = is_published.then_some("kubectl apply");
        let changes: Vec<_> = ["helm upgrade", "helm rollback masque 4"].into_iter().chain(applied).collect();
        assert_eq!(ended.changes(), changes, "{step}");
        // Helm 4 refuses to upgrade what has another field manager.
        let is_helm =
            ended.calls.contains("kubectl apply --server-side --force-conflicts --field-manager helm ");
        assert_eq!(is_helm, is_published, "{step}: {}", ended.calls);
        // Hosts keep the active set with the highest revision, so that of before needs a higher one than the failed one, 5.
        let expected = if is_published { "revision = 6" } else { "revision = 4" };
        let configuration = cluster.configuration();
        assert!(configuration.starts_with(&format!("[active_set]\n{expected}\n")), "{step}: {configuration}");
        assert!(!cluster.has_files_of_secrets(), "{step}");
    }
}

#[tokio::test]
async fn a_first_release_that_fails_is_removed() {
    for step in ["migration", "upgrade", "ready", "token", "chat", "turn", "signal"] {
        let ended = Cluster::empty(&[step]).release().await;
        assert_eq!(ended.code, 1, "{step}: {}", ended.log);
        assert_eq!(ended.changes(), ["helm upgrade", "helm uninstall masque"], "{step}");
    }
    assert_eq!(Cluster::empty(&[]).release().await.code, 0);
}

#[tokio::test]
async fn a_rollback_that_fails_is_told_apart() {
    for second in ["rollback", "apply", "ready-again"] {
        let ended = Cluster::with_release(&["ready", second]).release().await;
        assert_eq!(ended.code, 3, "{second}: {}", ended.log);
        assert!(ended.log.ends_with(": look at it now\n"), "{second}: {}", ended.log);
    }
    assert_eq!(Cluster::empty(&["ready", "rollback"]).release().await.code, 3);
}

#[tokio::test]
async fn what_the_cluster_refuses_beforehand_changes_nothing() {
    let ended = Cluster::with_release(&["check"]).release().await;
    assert_eq!((ended.code, ended.changes()), (1, vec![]), "{}", ended.log);

    // Without its history, the release would be taken for the first one, and removed if it fails.
    let ended = Cluster::with_release(&["history", "ready"]).release().await;
    assert_eq!((ended.code, ended.changes()), (1, vec![]), "{}", ended.log);
    assert!(
        ended.log.contains("cluster unreachable\nrelease: the history of masque can't be read"),
        "{}",
        ended.log
    );

    let cluster = Cluster::with_release(&[]);
    let pending =
        r#"[{"revision":4,"status":"deployed"},{"revision":5,"updated":"","status":"pending-upgrade"}]"#;
    std::fs::write(cluster.path("history.json"), pending).unwrap();
    let ended = cluster.release().await;
    assert_eq!((ended.code, ended.changes()), (1, vec![]), "{}", ended.log);
    assert!(ended.log.contains("helm rollback masque --namespace masque-staging"), "{}", ended.log);
}

#[tokio::test]
async fn a_conversation_that_stays_does_not_fail_a_release() {
    let ended = Cluster::with_release(&["deletion"]).release().await;
    assert_eq!(ended.code, 0, "{}", ended.log);
    assert!(ended.log.contains("the conversation conversation-1 of this check stays"), "{}", ended.log);
}

#[tokio::test]
async fn a_wrong_call_does_nothing() {
    let values = in_repository("deploy/helm/masque/values.yaml");
    let values = values.to_str().unwrap();
    let table: [(&[&str], &str); 7] = [
        (&[], "the first argument is staging or production"),
        (&["development"], "the first argument is staging or production"),
        (&["staging", "--values", values], "--url is missing"),
        (&["staging", "--url", "https://m"], "--values is missing"),
        (&["staging", "--url", "https://m", "--values", "/nowhere"], "can't read the values in /nowhere"),
        (&["staging", "--url", "https://m", "--values", values, "--timeout", "10m"], "--timeout is a number"),
        (
            &["staging", "--url", "https://m", "--values", values, "--key-file", "/nowhere"],
            "can't read the key",
        ),
    ];
    for (words, problem) in table {
        let ended = Cluster::with_release(&[]).release_with(words).await;
        assert_eq!((ended.code, ended.calls.as_str()), (2, ""), "{words:?}: {}", ended.log);
        assert!(ended.log.contains(problem), "{words:?}: {}", ended.log);
    }
}

#[tokio::test]
async fn the_turn_of_a_release_is_one_that_a_real_host_has() {
    let setup = Setup::defaults().with_authentication();
    let key = setup.create_key(&["--scope", "tokens:mint", "--scope", "chat"]).await;
    let host = setup.start().await;
    let mut cluster = Cluster::with_release(&[]);
    std::fs::remove_file(cluster.path("bin/curl")).unwrap();
    std::fs::write(cluster.path("key"), key).unwrap();
    cluster.url = format!("http://{}", host.address());
    let values = in_repository("deploy/helm/masque/values.yaml");
    let key_file = cluster.path("key");
    let [values, key_file] = [&values, &key_file].map(|path| path.to_str().unwrap());
    let words = ["production", "--url", &cluster.url, "--values", values, "--key-file", key_file];
    let ended = cluster.release_with(&words).await;
    assert_eq!(ended.code, 0, "{}", ended.log);
    // The conversation of the check is deleted.
    assert!(!ended.log.contains("stays"), "{}", ended.log);
    host.logged_in_one_line(&["method=DELETE", "status=204"]).await;
}
