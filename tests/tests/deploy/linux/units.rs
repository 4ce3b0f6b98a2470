//! The units as systemd judges them, without starting them.

use std::process::Command;

use masque_tests::deploy::in_repository;

use super::{has, run, succeed};

const UNITS: [&str; 5] = [
    "masque.service",
    "masque.socket",
    "masque-admin.socket",
    "masque-backup.service",
    "masque-backup.timer",
];

fn unit(name: &str) -> String {
    std::fs::read_to_string(in_repository("deploy/systemd").join(name)).unwrap()
}

/// Whether systemd grants the unit's text an exposure of at most 2.0 of 10.
fn is_hardened(text: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("masque.service");
    std::fs::write(&file, text).unwrap();
    run(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=20"]).arg(file))
}

#[test]
fn the_services_are_hardened_and_less_would_be_noticed() {
    if !has("systemd-analyze", "the_services_are_hardened_and_less_would_be_noticed") {
        return;
    }
    for name in ["masque.service", "masque-backup.service"] {
        let (is_within, report) = is_hardened(&unit(name));
        assert!(is_within, "{name}:\n{report}");
    }
    let weaker: Vec<_> = unit("masque.service")
        .lines()
        .filter(|line| !line.starts_with("SystemCallFilter=") && !line.starts_with("CapabilityBoundingSet="))
        .map(str::to_owned)
        .collect();
    let (is_within, report) = is_hardened(&weaker.join("\n"));
    assert!(!is_within, "{report}");
}

#[test]
fn systemd_knows_every_setting_of_every_unit() {
    if !has("systemd-analyze", "systemd_knows_every_setting_of_every_unit") {
        return;
    }
    let verify = |change: &dyn Fn(&str) -> String| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no"]);
        for name in UNITS {
            let file = folder.path().join(name);
            // The programs are not installed on this machine.
            let program = |line: &str| match line.starts_with("ExecStart=") {
                true => "ExecStart=/bin/sh\n".to_owned(),
                false => format!("{line}\n"),
            };
            std::fs::write(&file, change(&unit(name).lines().map(program).collect::<String>())).unwrap();
            command.arg(file);
        }
        succeed(&mut command)
    };
    assert_eq!(verify(&str::to_owned), "");
    let mistaken = verify(&|text| text.replace("ProtectHome=", "ProtectHomes="));
    assert!(mistaken.contains("ProtectHomes"), "{mistaken}");
}

#[test]
fn the_socket_and_the_configuration_of_the_package_name_the_same_addresses() {
    let toml = std::fs::read_to_string(in_repository("deploy/debian/masque.toml")).unwrap();
    for (socket, section) in [("masque.socket", "[server]"), ("masque-admin.socket", "[admin]")] {
        let unit = unit(socket);
        let address = unit.lines().find_map(|line| line.strip_prefix("ListenStream=")).unwrap();
        let (_, rest) = toml.split_once(section).unwrap();
        let listen = rest.lines().find(|line| line.starts_with("listen")).unwrap();
        assert_eq!(listen, format!("listen = \"{address}\""), "{socket}");
    }
}
