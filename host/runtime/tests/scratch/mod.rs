//! Scratch folders: who sees them, how much they hold, when they are emptied.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed precondition fails the test")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use masque_grants::{Grants, Limits};
use masque_runtime::{Plugin, Sandbox, SandboxConfig};

use crate::fixtures::{call, component, composed, eventually, no_recollection, turn};

const QUOTA: u64 = 256 << 10;

struct ScratchRoot {
    folder: tempfile::TempDir,
    sandbox: Arc<Sandbox>,
}

impl ScratchRoot {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = start(folder.path());
        Self { folder, sandbox }
    }

    async fn plugin(&self, name: &str, scratch: Option<u64>) -> Plugin {
        let package =
            self.sandbox.load(component("uses-what-it-can").into(), &Limits::default()).await.unwrap();
        let limits = Limits { cpu: Duration::from_secs(30), ..Limits::default() };
        Plugin::new(
            package,
            name.to_owned(),
            "{}".to_owned(),
            Grants { scratch, ..Grants::default() },
            limits,
        )
    }

    fn folders(&self) -> Vec<PathBuf> {
        fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Bytes that the scratch folders take on disk.
    fn taken(&self) -> u64 {
        let files = self.folders().into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        files.map(|file| file.unwrap().metadata().unwrap().blocks() * 512).sum()
    }
}

fn start(root: &Path) -> Arc<Sandbox> {
    let config = SandboxConfig { instances: 8, scratch: Some(root.to_owned()), ..SandboxConfig::default() };
    Sandbox::new(&config).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_seen_with_the_grant_alone_and_by_one_plugin_alone() {
    let root = ScratchRoot::new();
    let without = root.plugin("without", None).await;
    assert!(composed(&without, "write /scratch/a 10").await.starts_with("0 "));
    assert!(composed(&without, "sizes /").await.starts_with("internal"));
    assert!(root.folders().is_empty());

    let (one, other) = (root.plugin("one", Some(QUOTA)).await, root.plugin("other", Some(QUOTA)).await);
    assert_eq!(composed(&one, "write /scratch/a 10").await, "10");
    assert_eq!(composed(&one, "sizes /scratch").await, "a 10");
    assert_eq!(composed(&other, "sizes /scratch").await, "");
    let later = root.plugin("one", Some(QUOTA)).await;
    assert_eq!(composed(&later, "file /scratch/a").await, "xxxxxxxxxx");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outgrows_the_folder() {
    let root = ScratchRoot::new();
    for (how, each) in [
        ("unlinked", 12 << 10),
        ("truncated", 4 << 10),
        ("empty", 8 << 10),
        ("sparse", 24 << 10),
        ("holes", 12 << 10),
        ("appended", 4 << 10),
        ("renamed", 16 << 10),
        ("linked", 8 << 10),
    ] {
        // A limit so small that it is reached before the limit on open files.
        let plugin = root.plugin(how, Some(64 << 10)).await;
        let said = composed(&plugin, &format!("flood {how}")).await;
        let rounds: u64 = said.split(' ').next().unwrap().parse().unwrap_or(u64::MAX);
        assert!(rounds > 0 && rounds <= (64 << 10) / each, "{how}: {said}");
        // ENOSPC, which the standard library reports as EIO where a stream was refused.
        assert!(said.contains("os error 51") || said.contains("os error 29"), "{how}: {said}");
        assert!(root.taken() <= 64 << 10, "{how}: {}", root.taken());
        drop(plugin);
        eventually(|| root.folders().is_empty()).await;
    }
    let plugin = root.plugin("folders", Some(QUOTA)).await;
    let said = composed(&plugin, "flood folders").await;
    assert!(said.starts_with("0 "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_few_files_open_at_a_time() {
    let root = ScratchRoot::new();
    // A limit so large that it is not reached before the limit on open files.
    let plugin = root.plugin("open", Some(16 << 20)).await;
    let said = composed(&plugin, "flood unlinked").await;
    let open: u64 = said.split(' ').next().unwrap().parse().unwrap_or(u64::MAX);
    assert!((1..=32).contains(&open), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_ends_at_the_quota_and_what_is_deleted_or_replaced_is_free_for_the_next_call() {
    let root = ScratchRoot::new();
    let plugin = root.plugin("large", Some(QUOTA)).await;
    for _ in 0..3 {
        let said = composed(&plugin, "write /scratch/a 1000000").await;
        let written: u64 = said.split(' ').next().unwrap().parse().unwrap();
        assert!(said.contains(' ') && written <= QUOTA, "{said}");
        assert!(root.taken() <= QUOTA);
        eventually(|| root.sandbox.free_instances() == 8).await;
        let [folder] = root.folders().try_into().unwrap();
        fs::remove_file(folder.join("a")).unwrap();
        assert!(written >= QUOTA / 2, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_the_same_time_share_one_quota() {
    let root = ScratchRoot::new();
    let plugin = Arc::new(root.plugin("shared", Some(QUOTA)).await);
    let calls: Vec<_> = (0..4)
        .map(|n| {
            let plugin = plugin.clone();
            tokio::spawn(async move { composed(&plugin, &format!("write /scratch/{n} 1000000")).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert!(root.taken() <= QUOTA, "{}", root.taken());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_over_its_quota_names_it() {
    let root = ScratchRoot::new();
    let plugin = root.plugin("named", Some(QUOTA)).await;
    let error = plugin.compose(call(), &turn("flood-and-fail empty"), no_recollection()).await.unwrap_err();
    assert!(error.denied.iter().any(|refused| refused.contains("limit `scratch`")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_out() {
    let root = ScratchRoot::new();
    let plugin = root.plugin("out", Some(QUOTA)).await;
    assert_eq!(composed(&plugin, "write /scratch/a 10").await, "10");
    fs::write(root.folder.path().join("secret"), "secret").unwrap();
    let [folder] =
        root.folders().into_iter().filter(|path| path.is_dir()).collect::<Vec<_>>().try_into().unwrap();
    std::os::unix::fs::symlink("../secret", folder.join("relative")).unwrap();
    std::os::unix::fs::symlink(root.folder.path(), folder.join("absolute")).unwrap();
    for path in ["/scratch/../secret", "/scratch/relative", "/scratch/absolute/secret", "/secret"] {
        let said = composed(&plugin, &format!("file {path}")).await;
        assert!(said.starts_with("internal"), "{path}: {said}");
        let said = composed(&plugin, &format!("write {path} 3")).await;
        assert!(said.starts_with("0 "), "{path}: {said}");
    }
    assert_eq!(fs::read_to_string(root.folder.path().join("secret")).unwrap(), "secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_emptied_with_its_version_and_at_start() {
    let root = ScratchRoot::new();
    let plugin = root.plugin("emptied", Some(QUOTA)).await;
    assert_eq!(composed(&plugin, "write /scratch/a 10").await, "10");
    assert_eq!(root.folders().len(), 1);
    drop(plugin);
    eventually(|| root.folders().is_empty()).await;
    let plugin = root.plugin("emptied", Some(QUOTA)).await;
    assert_eq!(composed(&plugin, "sizes /scratch").await, "");

    let left = root.folder.path().join("left-by-an-earlier-host");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("a"), "a").unwrap();
    drop(start(root.folder.path()));
    assert!(!left.exists());
}
