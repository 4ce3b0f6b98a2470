//! The deployment guide: the commands of its section on a single host lead from an empty folder to a host with TLS,
//! PostgreSQL and Redis, a streamed turn, a backup and a restore. On that host, checks of the security page then find what they
//! should. The commands for backups with Compose work with a server of PostgreSQL.
//!
//! The commands are those of the guide. Only their paths and ports are replaced, and what needs root has
//! [stand-ins](deployment/machine.sh).

mod checks;
mod compose;

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use masque_store_postgres::testing::TestServer;
use masque_tests::deploy::in_repository;
use masque_tests::{binary, unavailable};
use serde_json::Value;
use tokio::process::Command;

/// Programs that the commands call besides the host, PostgreSQL and Redis.
const PROGRAMS: [&str; 4] = ["age", "curl", "jq", "openssl"];

/// Longer than all commands take on a busy machine: they start a host three times, which compiles its plugins.
const LIMIT: Duration = Duration::from_secs(300);

/// Folders that are below the test's own folder.
const FOLDERS: [&str; 4] = ["/etc/", "/var/", "/usr/bin/masque", "/usr/lib/masque/"];

/// What a block begins with whose commands are for the machine that has the private key.
const OTHER_MACHINE: &str = "# on the other machine\n";

/// A section of the guide.
fn section(title: &str) -> String {
    let guide = std::fs::read_to_string(in_repository("docs/deployment.md")).unwrap();
    let section = guide.split(&format!("\n## {title}\n")).nth(1).expect("a section of this title");
    section.split("\n## ").next().unwrap().to_owned()
}

/// The section on a single host.
fn single_host() -> String {
    section("Single host")
}

/// The fenced code blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let parts = text.split(&format!("```{language}\n")).skip(1).map(str::to_owned).collect::<Vec<_>>();
    parts.iter().map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

/// Three free ports. They are below those that the system gives to other tests: the services of the guide listen on them only
/// seconds later, and again after a restart.
fn free_ports() -> [String; 3] {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let mut free = (first..32_000).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    std::array::from_fn(|_| free.next().expect("a free port").to_string())
}

fn missing_program() -> Option<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    PROGRAMS.into_iter().find(|program| !folders.iter().any(|folder| folder.join(program).is_file()))
}

/// A server that asks the user `masque` for its password.
fn postgresql() -> TestServer {
    let server = TestServer::start();
    server.shell("sed -i \"1i host all masque 127.0.0.1/32 scram-sha-256\" pg_hba.conf");
    server.psql("postgres", "SELECT pg_reload_conf()");
    server
}

/// Commands of the guide with their paths below this folder, and with these ports.
fn here(commands: &str, root: &Path, postgresql: u16, [public, admin, redis]: [&str; 3]) -> String {
    let postgresql = postgresql.to_string();
    let ports = [("8443", public), ("9000", admin), ("5432", &postgresql), ("6379", redis)];
    let mut commands = commands.to_owned();
    for folder in FOLDERS {
        commands = commands.replace(folder, &format!("@ROOT@{folder}"));
    }
    // First all of them by marks: what is put in may contain the number of another port.
    for (index, (port, _)) in ports.iter().enumerate() {
        commands = commands.replace(port, &format!("@PORT{index}@"));
    }
    for (index, (_, free)) in ports.iter().enumerate() {
        commands = commands.replace(&format!("@PORT{index}@"), free);
    }
    commands.replace("@ROOT@", root.to_str().unwrap())
}

/// The commands of the guide on a machine in this folder, and the checks after them. Each block is followed by a line with its
/// number.
fn script(root: &Path, postgresql: u16, ports: [&str; 3]) -> String {
    let mut script = std::fs::read_to_string(in_repository("tests/tests/e2e/deployment/machine.sh")).unwrap();
    for (number, block) in blocks(&single_host(), "sh").iter().enumerate() {
        let commands = here(block, root, postgresql, ports);
        let commands = match block.starts_with(OTHER_MACHINE) {
            true => format!("cd \"$ROOT/other\"\n{commands}\ncd \"$ROOT/checkout\""),
            false => commands,
        };
        script.push_str(&format!("\n{commands}\nprintf '\\n=== {number}\\n'\n"));
    }
    script.push_str(&here(&checks::script(), root, postgresql, ports));
    script
}

#[tokio::test]
async fn the_deployment_guide_leads_from_an_empty_folder_to_a_restored_backup() {
    if let Some(program) = missing_program() {
        return unavailable("the_deployment_guide", &format!("there is no `{program}`"));
    }
    let folder = tempfile::Builder::new().prefix("masque-guide-").tempdir().unwrap();
    let root = folder.path();
    let (server, [public, admin, redis]) = (postgresql(), free_ports());
    let file = root.join("commands");
    std::fs::write(&file, script(root, server.port(), [&public, &admin, &redis])).unwrap();

    let mut command = Command::new("bash");
    command.arg(&file).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.env("HOME", root).env("ROOT", root).env("BINARY", binary()).env("REDIS", &redis);
    command.env("CHECKOUT", in_repository("")).env("MACHINE", in_repository("tests/tests/e2e/deployment"));
    command.env("PGPORT", server.port().to_string());
    // The script stops its services when its input ends, also if this test is killed.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let input = child.stdin.take();
    let output =
        tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("the commands end").unwrap();
    drop(input);

    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the commands of the guide fail:\n{text}\n{errors}");
    assert!(text.contains("state       PostgreSQL") && text.contains("shared      Redis"), "{text}");
    let completed = text.split("event: turn.completed\n").nth(1).expect("the end of the streamed turn");
    let data = completed.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let turn: Value = serde_json::from_str(data).unwrap();
    assert!(text.contains("event: reply.delta\n"), "{text}");
    assert!(text.contains("No user of this database was erased before."), "the list is applied: {text}");
    // The last command of the guide lists the conversations of the restored database.
    let (text, checked) = text.split_once(checks::BEGIN).expect("the checks");
    let last = text.lines().rfind(|line| line.starts_with("{\"items\"")).expect("the conversations");
    let listed: Value = serde_json::from_str(last).unwrap();
    assert_eq!(listed["items"][0]["id"], turn["conversation_id"], "{listed}");
    let databases =
        server.psql("postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database");
    assert!(databases.contains("before_restore masque"), "{databases}");
    let backups = std::fs::read_dir(root.join("var/backups/masque")).unwrap().count();
    assert_eq!(backups, 2, "the backup and its erasure list");
    assert!(root.join("other/backup-key.txt").is_file() && !root.join("checkout/backup-key.txt").exists());
    assert_eq!(std::fs::read_dir(root.join("other/backups")).unwrap().count(), backups);
    checks::expect(checked);
}

#[test]
fn every_command_of_the_single_host_is_followed() {
    let section = single_host();
    let steps = section.matches("\n### ").count();
    assert!(blocks(&section, "sh").len() >= steps, "each step has commands");
    let marked = ["sh", "toml"].map(|language| blocks(&section, language).len()).iter().sum::<usize>();
    assert_eq!(section.matches("```").count(), 2 * marked, "a block of another language is not followed");
}
