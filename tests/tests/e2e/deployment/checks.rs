//! Checks of the security page, on a host that was made by the deployment guide. A check that could not fail would also pass on a
//! host that is not safe.

use masque_tests::deploy::in_repository;

/// What is printed before the first check.
pub(super) const BEGIN: &str = "=== checks\n";

/// Commands of the page, as it has them, and what they print there.
const CHECKS: [(&str, &str); 11] = [
    ("as_masque check --production", "The configuration is valid.\n"),
    ("as_masque keys list", "  until 20"),
    ("as_masque tokens revoke --user ana", "Revoked. "),
    ("as_masque jobs", "No job is parked.\n"),
    ("sudo find /etc/masque/secrets -type f -printf '%m %u:%g %f\\n'", "640 "),
    ("sudo stat -c '%a %U' /var/lib/masque", "700 "),
    ("sudo journalctl -u masque | grep -o '\"client\":\"[^\"]*\"' | tail -1", "\"client\":\"127.0.0.1\"\n"),
    (
        "sudo find /var/backups/masque -name '*.age' -exec head -qc 18 {} +",
        "age-encryption.orgage-encryption.org",
    ),
    (
        "sudo curl -s --unix-socket /var/lib/masque/admin.sock 'http://localhost/admin/audit?limit=100'",
        "\"action\":\"token.revoke\"",
    ),
    ("sudo curl -s --unix-socket /var/lib/masque/admin.sock http://localhost/status", "\"records\":"),
    ("sudo ls -l /var/backups/masque", "Z.age\n"),
];

/// The page.
fn page() -> String {
    // A bar within a cell of a table is escaped.
    std::fs::read_to_string(in_repository("docs/security.md")).unwrap().replace("\\|", "|")
}

/// The commands, each followed by a line.
pub(super) fn script() -> String {
    let mut script = format!("\nprintf '\\n{}'\n", BEGIN.replace('\n', "\\n"));
    for (command, _) in CHECKS {
        script.push_str(&format!("{command} 2>&1\nprintf '\\n=== checked\\n'\n"));
    }
    // In another folder and without the host's configuration, the same commands must not seem to work.
    script.push_str("mkdir \"$ROOT/elsewhere\"; cd \"$ROOT/elsewhere\"\n");
    for command in ["tokens revoke --user ana", "keys list", "jobs", "erasures"] {
        script.push_str(&format!("if masque {command}; then exit 1; fi\n"));
    }
    // An instrumented binary leaves its counters there.
    script.push_str("[ ! -e masque-data ]\n");
    script
}

/// Compares what the commands have printed.
pub(super) fn expect(printed: &str) {
    let mut answers = printed.split("\n=== checked\n");
    for (command, expected) in CHECKS {
        let answer = answers.next().unwrap();
        assert!(answer.contains(expected), "`{command}` printed {answer:?}");
        if command.starts_with("as_masque") && !command.contains(" check ") {
            assert!(answer.contains("state: PostgreSQL at 127.0.0.1:"), "`{command}` printed {answer:?}");
        }
        if command.contains("/secrets") {
            let is_closed = |line: &str| line.split(' ').next().is_some_and(|mode| mode.ends_with('0'));
            let lines: Vec<_> = answer.trim().lines().collect();
            assert!(lines.len() == 4 && lines.iter().all(|line| is_closed(line)), "{answer}");
        }
    }
}

#[test]
fn the_security_page_has_each_check_and_no_command_without_the_hosts_configuration() {
    let page = page();
    for (command, _) in CHECKS {
        assert!(page.contains(&format!("`{command}`")), "`{command}` is not on the page");
    }
    let without: Vec<_> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|span| {
            span.starts_with("masque ") || span.starts_with("journalctl") || span.starts_with("find")
        })
        .collect();
    assert!(without.is_empty(), "these act on another host, or see nothing: {without:?}");
    let made = std::fs::read_to_string(in_repository("docs/deployment.md")).unwrap();
    for line in made.lines().filter(|line| line.contains("keys create")) {
        let whole = line.contains("--expires-in-days") || line.ends_with('\\');
        assert!(whole, "the page asks for keys that end: {line}");
    }
}
