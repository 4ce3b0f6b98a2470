//! Each kind of mistake in a file, as a block of `mistakes.txt`, and a file with many mistakes.

use super::{Folder, lines_of};
use crate::Flags;

fn folder(file: &str) -> Folder {
    Folder::new()
        .with("masque.toml", file)
        .with("folder.wasm/x", "")
        .with("latin1.json", b"caf\xe9")
        .with("large.json", vec![b' '; 4 * 1024 * 1024 + 1])
        .with("secret", "s3cret\n")
        .with("two-lines", "s3cret\ns3cret\n")
}

#[test]
fn every_mistake_is_reported_with_its_line_and_its_remedy() {
    let blocks: Vec<&str> = include_str!("mistakes.txt").split("\n\n").skip(1).collect();
    for block in &blocks {
        let (title, rest) = block.split_once('\n').unwrap();
        let file: String =
            rest.lines().filter(|line| !line.starts_with("=> ")).map(|line| format!("{line}\n")).collect();
        let expected: Vec<_> = rest.lines().filter_map(|line| line.strip_prefix("=> ")).collect();
        let folder = folder(&file);
        let loaded = folder.load(&Flags::default(), &[]);
        assert!(loaded.is_err(), "{title} was taken");
        let lines: Vec<_> = lines_of(loaded)
            .iter()
            .map(|line| line.replace(&folder.path().display().to_string(), "FOLDER"))
            .collect();
        assert_eq!(lines, expected, "{title}");
    }
    assert!(blocks.len() > 70, "{} blocks were found", blocks.len());
}

#[test]
fn all_mistakes_are_reported_in_the_order_of_their_lines() {
    let loaded = folder(include_str!("many_mistakes.toml")).load(&Flags::default(), &[]);
    let expected: Vec<_> = include_str!("many_mistakes.txt").lines().collect();
    assert!(expected.len() >= 10);
    assert_eq!(lines_of(loaded), expected);
}

#[test]
fn a_line_that_is_not_toml_causes_no_further_mistakes() {
    let file = "[companions.mia]\npersona = elara\nmodels = [\"mine\"]\n[plugins.mine\nsource = \"builtin:offline\"\n[turn]\nwait = 1\n";
    let locations: Vec<_> = lines_of(folder(file).load(&Flags::default(), &[]))
        .iter()
        .map(|line| line.split(": ").next().unwrap().to_owned())
        .collect();
    assert_eq!(locations, ["masque.toml:2:11", "masque.toml:4:14", "masque.toml:7:8"]);
}

#[test]
fn no_mistake_quotes_a_secret() {
    let file = "[credentials.one]\norigin = \"https://me:s3cret@a.test\"\nheader = \"Bearer s3cret\"\nvalue = \"s3cret$\"\n\
                [credentials.two]\norigin = \"https://a.test\"\nheader = \"x-key\"\nvalue = \"${KEY}\"\n";
    let lines = lines_of(folder(file).load(&Flags::default(), &[("KEY", "s3cret\ns3cret")]));
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(!lines.concat().contains("s3cret"), "{lines:#?}");
}

#[test]
fn a_mistake_stays_on_one_line_whatever_the_file_holds() {
    let file = "[plugins.mine]\nsource = \"a\\n\\u001b[2Jb.wasm\"\n";
    let lines = lines_of(folder(file).load(&Flags::default(), &[]));
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(!lines[0].contains(char::is_control), "{lines:?}");
}

#[test]
fn a_named_pipe_and_a_secret_that_everyone_may_write_are_refused_without_waiting() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder(
        "[credentials.one]\norigin = \"http://127.0.0.1:9\"\nheader = \"x-key\"\nvalue_file = \"pipe.wasm\"\n\
         [credentials.two]\norigin = \"http://127.0.0.1:9\"\nheader = \"x-key\"\nvalue_file = \"secret\"\n\
         [plugins.mine]\nsource = \"pipe.wasm\"\nsettings = { card = { file = \"pipe.wasm\" } }\n",
    );
    let pipe = folder.path().join("pipe.wasm");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let secret = folder.path().join("secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o666)).unwrap();
    let lines = lines_of(folder.load(&Flags::default(), &[]));
    for (line, wrong) in [
        (4, "pipe.wasm can't be read: it is a named pipe"),
        (8, "secret can't be read: every user of this machine may write it"),
        (10, "pipe.wasm can't be read: it is a named pipe"),
        (11, "pipe.wasm can't be read: it is a named pipe"),
    ] {
        let place = format!("masque.toml:{line}:");
        let found = lines.iter().any(|found| found.starts_with(&place) && found.contains(wrong));
        assert!(found, "line {line}: {lines:?}");
    }
    // The file itself, and that of the host's own secret.
    let named = |variables: &[(&str, &str)]| lines_of(folder.load(&Flags::default(), variables)).join(" ");
    assert!(named(&[("JWT_SECRET_KEY_FILE", "pipe.wasm")]).contains("a named pipe"));
    assert!(named(&[("MASQUE_CONFIG", "pipe.wasm")]).contains("a named pipe"));
}

#[test]
fn a_file_that_decides_what_the_host_does_and_that_everyone_may_write_is_named_by_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let file = "[plugins.mine]\nsource = \"mine.wasm\"\nsettings = { card = { file = \"card.json\" } }\n";
    let folder =
        folder(file).with("mine.wasm", "").with("card.json", "{}").with("masque-data/plugins/other.wasm", "");
    let warnings = || {
        let lines = lines_of(folder.load(&Flags::default(), &[]));
        lines.into_iter().filter(|line| line.contains("may write it")).collect::<Vec<_>>()
    };
    assert!(warnings().is_empty(), "{:?}", warnings());
    for (name, mode) in [
        ("masque.toml", 0o666),
        ("mine.wasm", 0o666),
        ("card.json", 0o666),
        ("masque-data/plugins", 0o777),
        ("masque-data/plugins/other.wasm", 0o666),
    ] {
        let set_mode = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path().join(name), permissions).unwrap();
        };
        set_mode(mode);
        let found = warnings();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        let expected =
            format!("{name}: warning: every user of this machine may write it. Take that right away");
        assert!(found[0].contains(&expected), "{found:?}");
        set_mode(mode & 0o755);
    }
}

#[test]
fn keys_that_prove_users_and_that_everyone_may_write_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let file = "[auth.issuers.file]\nissuer = \"https://id.example\"\naudience = \"masque\"\njwks_file = \"keys.json\"\n";
    let folder = folder(file).with("keys.json", "{\"keys\": []}");
    let lines = || lines_of(folder.load(&Flags::default(), &[])).join("\n");
    assert!(!lines().contains("keys.json"), "{}", lines());
    let keys = folder.path().join("keys.json");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(
        lines().contains("keys.json can't be read: every user of this machine may write it"),
        "{}",
        lines()
    );
}
