//! Hosts, limits, and the log of this process.

use std::io;
use std::num::NonZeroU32;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use masque_store::{Bucket, InboxMessage, LiveHosts, Owner, Quota, RateLimits, Shared, SharedStatus, Taken};
use masque_store_redis::{RedisOpenError, RedisOptions, open};
use uuid::Uuid;

pub(crate) fn host_id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub(crate) fn user(subject: &str) -> Owner {
    Owner { tenant: "default".into(), issuer: "local".into(), subject: subject.into() }
}

pub(crate) fn quota(per_minute: u32, burst: u32) -> Quota {
    Quota { per_minute: NonZeroU32::new(per_minute).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
}

pub(crate) async fn take(rates: &dyn RateLimits, name: &str, quota: Quota) -> Taken {
    rates.take(&[Bucket { name, quota }]).await[0]
}

/// A host of an installation, one of `live`.
pub(crate) async fn host_of(url: &str, installation: Uuid, number: u128, live: u32) -> Shared {
    log();
    let live_hosts = LiveHosts::default();
    live_hosts.set(live);
    let mut options = RedisOptions::from_url(url).unwrap();
    // Tests run side by side on a busy machine.
    options.command_timeout = Duration::from_secs(1);
    open(&options, installation, host_id(number), live_hosts).await.unwrap()
}

/// A host of an installation of its own.
pub(crate) async fn host(url: &str) -> Shared {
    host_of(url, Uuid::now_v7(), 1, 1).await
}

/// Why a host does not open.
pub(crate) async fn refusal(url: &str) -> RedisOpenError {
    let options = RedisOptions::from_url(url).unwrap();
    match open(&options, Uuid::now_v7(), host_id(1), LiveHosts::default()).await {
        Err(error) => error,
        Ok(shared) => panic!("it opened: {:?}", shared.health.status()),
    }
}

pub(crate) fn is_connected(shared: &Shared) -> bool {
    shared.health.status() == SharedStatus::Connected
}

/// Why Redis is not used.
pub(crate) fn reason(shared: &Shared) -> String {
    match shared.health.status() {
        SharedStatus::Unavailable { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

/// Waits until something is so, for a time that only a failure reaches.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: not within 60 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn until_connected(shared: &Shared) {
    eventually("Redis is used", async || is_connected(shared)).await;
}

pub(crate) async fn next_message(shared: &Shared) -> InboxMessage {
    tokio::time::timeout(Duration::from_secs(60), shared.inbox.receive()).await.expect("no message came")
}

/// The lines of the log of this process that name a server.
pub(crate) fn lines_of(port: u16) -> Vec<String> {
    let log = log().lock().unwrap();
    let text = String::from_utf8_lossy(&log).into_owned();
    text.lines().filter(|line| line.contains(&format!(":{port}"))).map(str::to_owned).collect()
}

fn log() -> &'static Mutex<Vec<u8>> {
    static LOG: OnceLock<&'static Mutex<Vec<u8>>> = OnceLock::new();
    LOG.get_or_init(|| {
        let log: &'static Mutex<Vec<u8>> = Box::leak(Box::default());
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || Writer(log)).init();
        log
    })
}

struct Writer(&'static Mutex<Vec<u8>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
