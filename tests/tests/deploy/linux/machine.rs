//! The Debian package on a machine that systemd has booted, in namespaces.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use masque_tests::deploy::in_repository;
use masque_tests::{WAIT_LIMIT, binary, full, shipped, skipped, unavailable};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{backup, package, run, succeed};

/// Runs a command as the user of the host, as `sudo -u masque` does.
const AS_MASQUE: &str = "setpriv --reuid masque --regid masque --clear-groups";

/// Talks to the host over and over, each time on a new connection, until `/mnt/stop` exists. Each answer is a line.
const LOAD: &str = r#"#!/bin/sh
for worker in 1 2 3; do
    while [ ! -e /mnt/stop ]; do
        curl --silent --output /dev/null --write-out '%{http_code} %{time_total}\n' --header "Authorization: Bearer $KEY" \
            --json '{"message": "Hello"}' http://127.0.0.1:8000/chat
    done &
done
wait
"#;

/// A booted machine. It ends with this value.
struct Machine {
    boot: Child,
    /// Its process 1, as seen from here.
    systemd: String,
    folder: TempDir,
}

fn boot_script(arguments: [&Path; 2]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(in_repository("tests/tests/deploy/linux/boot"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

impl Machine {
    fn boot(tree: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let boot = boot_script([tree, folder.path()]).spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", boot.id());
        let systemd = wait("systemd to start", || {
            let child = std::fs::read_to_string(&children).ok()?.split_whitespace().next()?.to_owned();
            let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (name.trim() == "systemd").then_some(child)
        });
        let machine = Self { boot, systemd, folder };
        let state = wait("the machine to be up", || {
            let (_, state) = run(machine.command("systemctl is-system-running").stdin(Stdio::null()));
            // A service of the machine may fail in namespaces, such as the one that loads modules of the kernel.
            ["running", "degraded"].contains(&state.trim()).then_some(state)
        });
        println!("the machine is {}", state.trim());
        machine
    }

    /// A line of a shell in the machine.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &self.systemd, "--", "sh", "-c", line]);
        command
    }

    fn run(&self, line: &str) -> String {
        succeed(&mut self.command(line))
    }

    /// A folder that is `/mnt` in the machine.
    fn shared(&self) -> PathBuf {
        self.folder.path().join("shared")
    }

    /// Says something as the owner of this key. Returns the reply.
    fn say(&self, key: &str, message: &str) -> Value {
        let body = json!({ "message": message });
        let answer = self.run(&format!(
            "curl --silent --header 'Authorization: Bearer {key}' --json '{body}' http://127.0.0.1:8000/chat"
        ));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (_, log) = run(&mut self.command("journalctl --no-pager --lines 80"));
            println!("--- log of the machine\n{log}--- end of the log");
        }
        // `unshare` kills the machine as it ends.
        let _ = self.boot.kill();
        let _ = self.boot.wait();
        let _ = boot_script([Path::new("--remove"), self.folder.path()]).status();
    }
}

fn wait<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < WAIT_LIMIT, "waited {WAIT_LIMIT:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The tree that is booted, if it can be.
fn tree(test: &str) -> Option<PathBuf> {
    let tree = std::env::var_os("MASQUE_TEST_DEBIAN13").map(PathBuf::from);
    let tree = tree.filter(|tree| tree.join("usr/lib/systemd/systemd").is_file());
    if !full() {
        skipped(test, "it takes long; `cargo xtask test --full` runs it");
        return None;
    }
    let reason = match &tree {
        None => "there is no tree of Debian 13 with systemd; `cargo xtask test --install` makes it",
        Some(_) if !rustix::process::geteuid().is_root() => "only root can boot a machine",
        Some(_) => return tree,
    };
    unavailable(test, reason);
    None
}

#[test]
fn the_package_installs_serves_restarts_under_load_backs_up_and_leaves_nothing() {
    let test = "the_package_installs_serves_restarts_under_load_backs_up_and_leaves_nothing";
    let Some(tree) = tree(test) else { return };
    let machine = Machine::boot(&tree);
    let shared = machine.shared();

    // Installing starts nothing.
    let built = package::build(&binary(), &shared);
    let install_package = format!("dpkg --install /mnt/{}", built.file_name().unwrap().to_str().unwrap());
    let installed = machine.run(&install_package);
    assert!(installed.contains("systemctl enable --now"), "{installed}");
    let (_, states) =
        run(&mut machine.command("systemctl is-active masque.service masque.socket masque-backup.timer"));
    assert_eq!(states, "inactive\ninactive\ninactive\n");
    let mode = machine.run("stat --format '%a %U:%G' /etc/masque/secrets/jwt /var/lib/masque");
    assert_eq!(mode, "640 root:masque\n700 masque:masque\n");

    for kind in ["user", "address"] {
        let limits = format!("[limits.{kind}]\\nper_minute = 1000000\\nburst = 1000000\\n");
        machine.run(&format!("printf '{limits}' >>/etc/masque/masque.toml"));
    }
    machine
        .run("systemctl enable --now masque.socket masque-admin.socket masque.service masque-backup.timer");
    let security = machine.run("systemd-analyze security --threshold=20 masque.service");
    println!("{}", security.lines().last().unwrap_or_default());
    let check = format!("{AS_MASQUE} masque check --production --config /etc/masque/masque.toml");
    machine.run(&check);
    let create = format!(
        "{AS_MASQUE} masque keys create test --scope chat --config /etc/masque/masque.toml 2>/dev/null"
    );
    let key = machine.run(&create).trim().to_owned();
    assert_eq!(machine.say(&key, "Hello")["finish"], "stop");
    // The command line with the variables of the unit.
    let listed = machine.run(
        "systemd-run --pipe --quiet --uid masque --property EnvironmentFile=/etc/masque/environment \
         masque keys list --config /etc/masque/masque.toml",
    );
    assert!(listed.contains("test"), "{listed}");
    machine.run("curl --silent --fail http://127.0.0.1:9000/livez");

    // A new plugin is compiled inside the service.
    std::fs::write(shared.join("new.wasm"), shipped("hello-persona")).unwrap();
    let install = "install --owner masque /mnt/new.wasm /var/lib/masque/plugins/.new && mv /var/lib/masque/plugins/.new \
                   /var/lib/masque/plugins/hello-persona.wasm";
    machine.run(install);
    machine.run(
        "sed -i 's/^persona = .*/persona = \"hello-persona\"/' /etc/masque/masque.toml && \
         printf '[plugins.hello-persona.settings]\nname = \"Ida\"\n' >>/etc/masque/masque.toml",
    );
    wait("a turn of the new plugin", || {
        machine.say(&key, "Hello").to_string().contains("hello-persona").then_some(())
    });

    // A restart under load: no request fails.
    let script = shared.join("load");
    std::fs::write(&script, LOAD).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut load = machine.command(&format!("KEY={key} /mnt/load >/mnt/answers")).spawn().unwrap();
    let answers = || std::fs::read_to_string(shared.join("answers")).unwrap_or_default();
    let more_than = |count: usize| wait("answers", || (answers().lines().count() > count).then_some(()));
    more_than(10);
    machine.run("systemctl restart masque.service");
    more_than(answers().lines().count() + 10);
    // So does an update of the package.
    let before = machine.run("systemctl show --property InvocationID masque.service");
    machine.run(&install_package);
    assert_ne!(machine.run("systemctl show --property InvocationID masque.service"), before);
    more_than(answers().lines().count() + 10);
    std::fs::write(shared.join("stop"), "").unwrap();
    assert!(load.wait().unwrap().success());
    let answers = answers();
    let failed: Vec<_> = answers.lines().filter(|line| !line.starts_with("200 ")).collect();
    assert!(failed.is_empty(), "{} requests failed: {failed:?}", failed.len());
    let times = answers.lines().map(|line| line.split_once(' ').unwrap().1.parse::<f64>().unwrap());
    println!("{} requests, the longest took {:.2} s", answers.lines().count(), times.fold(0.0, f64::max));

    // A host that is killed is started again, with its socket.
    machine.run("systemctl kill --signal KILL masque.service");
    assert_eq!(machine.say(&key, "Are you back?")["finish"], "stop");
    let restarts = machine.run("systemctl show --property NRestarts masque.service");
    assert_eq!(restarts, "NRestarts=1\n");

    // A start that fails keeps no package from being installed. It is tried again, and who connected meanwhile is answered.
    machine.run("cp /etc/masque/masque.toml /root/kept && echo broken >>/etc/masque/masque.toml");
    let (is_installed, text) = run(&mut machine.command(&install_package));
    assert!(is_installed && text.contains("the host is not ready yet"), "{text}");
    let waiting = machine.command("curl --silent --fail http://127.0.0.1:8000/readyz").spawn().unwrap();
    machine.run("cp /root/kept /etc/masque/masque.toml");
    assert!(waiting.wait_with_output().unwrap().status.success());

    // A secret as the page has it. The backup and the restore read the configuration without the host's credentials.
    let page = std::fs::read_to_string(in_repository("docs/linux.md")).unwrap();
    let (_, rest) = page.split_once("```toml\n").unwrap();
    std::fs::write(shared.join("credential.toml"), rest.split("```").next().unwrap()).unwrap();
    machine.run(
        "echo 'Bearer key' | install -m 640 -g masque /dev/stdin /etc/masque/secrets/openai && \
         cat /mnt/credential.toml >>/etc/masque/masque.toml",
    );

    // The nightly backup.
    machine.run(
        "age-keygen --output /root/private && age-keygen -y /root/private >/etc/masque/backup-recipients",
    );
    machine.run("systemctl start masque-backup.service");
    let backups = machine.run("ls /var/backups/masque");
    assert!(backups.lines().any(|name| name.ends_with("Z.age")), "{backups}");

    // The restore as the guide has it.
    machine.run("systemctl stop masque.socket masque-admin.socket masque.service");
    machine.run(&format!(
        "cd /var/lib/masque && age --decrypt --identity /root/private /var/backups/masque/*Z.age >backup.db && \
         chown masque backup.db && touch erasures.jsonl && chown masque erasures.jsonl && \
         {AS_MASQUE} masque restore backup.db --config /etc/masque/masque.toml && rm backup.db"
    ));
    machine.run("systemctl start masque.socket masque.service");
    assert_eq!(machine.say(&key, "Do you remember?")["finish"], "stop");

    // The backup of a PostgreSQL database, as the head of the unit has it. A stand-in prints how it is called.
    let settings = backup::postgresql_example();
    std::fs::write(shared.join("postgresql.conf"), settings).unwrap();
    std::fs::write(shared.join("pg_dump"), "#!/bin/sh\nprintf '<%s>' \"$PGPASSWORD\" \"$@\"\n").unwrap();
    machine.run(
        "install -D -m 644 /mnt/postgresql.conf /etc/systemd/system/masque-backup.service.d/postgresql.conf && \
         install -m 755 /mnt/pg_dump /usr/local/bin/pg_dump && \
         echo password | install -m 640 -g masque /dev/stdin /etc/masque/secrets/database && \
         echo 'DATABASE_URL=postgres://masque@db/masque?a=$b%20c' >>/etc/masque/environment && \
         rm /var/backups/masque/* && systemctl daemon-reload && systemctl start masque-backup.service",
    );
    let called = machine.run("age --decrypt --identity /root/private /var/backups/masque/*Z.age");
    assert_eq!(called, "<password><--format=custom><postgres://masque@db/masque?a=$b%20c>");
    let backups = machine.run("ls /var/backups/masque");

    machine.run("dpkg --purge masque");
    // What the operator has made stays: the public key and the backups.
    let left = machine.run("find /etc/masque /var/lib/masque /usr/bin/masque -type f 2>/dev/null || true");
    assert_eq!(left, "/etc/masque/backup-recipients\n");
    assert_eq!(machine.run("ls /var/backups/masque"), backups);
    let (_, states) = run(&mut machine.command("systemctl is-active masque.service masque.socket"));
    assert_eq!(states, "inactive\ninactive\n");
}
