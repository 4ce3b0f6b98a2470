//! Components that load, components that are refused, and the cache of compiled components.

use masque_grants::Limits;
use masque_runtime::{Cause, LoadError, Sandbox, SandboxConfig};

use crate::fixtures::{component, plugin_in, sandbox};

#[tokio::test]
async fn what_is_no_plugin_is_refused_with_the_reason() {
    let sandbox = sandbox();
    let load = async |bytes: &[u8]| sandbox.load(bytes.into(), &Limits::default()).await.unwrap_err();
    assert!(matches!(load(b"hello").await, LoadError::NotWasm));
    assert!(matches!(load(b"\0asm\x01\0\0\0").await, LoadError::CoreModule));
    assert!(matches!(load(b"\0asm\x0d\0\x01\0").await, LoadError::Exports(_)));
    let whole = component("panics");
    assert!(matches!(load(&whole[..whole.len() / 2]).await, LoadError::Compile(_)));
}

#[tokio::test]
async fn a_component_is_compiled_once_and_again_if_its_code_was_altered() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        SandboxConfig { instances: 4, cache: Some(folder.path().to_owned()), ..SandboxConfig::default() };
    let load = async || {
        let sandbox = Sandbox::new(&config).unwrap();
        sandbox.load(component("panics").into(), &Limits::default()).await.unwrap().digest().to_owned()
    };
    let digest = load().await;
    let cached = || {
        use std::os::unix::fs::MetadataExt;
        let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap());
        // The cache replaces a file by a new one of the same name.
        let mut cached: Vec<_> =
            files.map(|file| (file.file_name(), file.metadata().unwrap().ino())).collect();
        cached.sort();
        cached
    };
    let first = cached();
    assert_eq!(first.len(), 2, "the key and one component: {first:?}");
    assert_eq!(load().await, digest);
    assert_eq!(cached(), first);
    // Altered code is never run: it is compiled again and replaced.
    let (file, _) = first.iter().find(|(name, _)| name.to_string_lossy().ends_with(".aot")).unwrap();
    let path = folder.path().join(file);
    let mut code = std::fs::read(&path).unwrap();
    let middle = code.len() / 2;
    code[middle] ^= 1;
    std::fs::write(&path, &code).unwrap();
    assert_eq!(load().await, digest);
    assert_ne!(std::fs::read(&path).unwrap(), code);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_is_held_to_the_limits_that_were_given() {
    let sandbox = sandbox();
    let refused = async |name: &str, limits: Limits| match sandbox
        .load(component(name).into(), &limits)
        .await
        .unwrap_err()
    {
        LoadError::Describe(call) => call.cause,
        other => panic!("{other}"),
    };
    let cpu = std::time::Duration::from_millis(50);
    let cause = refused("spins-in-describe", Limits { cpu, ..Limits::default() }).await;
    assert!(matches!(cause, Cause::CpuTime(limit) if limit == cpu), "{cause}");
    let cause = refused("panics", Limits { memory_bytes: 64 << 10, ..Limits::default() }).await;
    assert!(matches!(cause, Cause::Memory { limit } if limit == 64 << 10), "{cause}");
    assert!(sandbox.load(component("panics").into(), &Limits::default()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_rust_takes_one_permit_of_the_pool() {
    for name in ["panics", "hoards", "breaks-a-call", "reaches-out"] {
        let plugin =
            plugin_in(&sandbox(), name, "{}", masque_grants::Grants::default(), Limits::default()).await;
        assert_eq!(plugin.weight(), 1, "{name}");
    }
}
