//! Opens the memory that hosts share: Redis where `REDIS_URL` is set, otherwise that of this process.

use anyhow::Context;
use masque_config::{Config, Redis};
use masque_store::{LiveHosts, Shared, Store};
use masque_store_redis::RedisOptions;
use uuid::Uuid;

/// Opens the shared memory of `host`. A Redis that can't be reached is no error: the host begins without it.
///
/// # Errors
/// Redis can't be used, and waiting does not help; or the store does not say of which installation it is.
pub(crate) async fn open(config: &Config, store: &dyn Store, host: Uuid) -> anyhow::Result<Shared> {
    if config.redis.is_url_ignored {
        tracing::info!("REDIS_URL is ignored, since REDIS_ENABLED is false");
    }
    let Some(redis) = &config.redis.server else { return Ok(Shared::in_process(host)) };
    let options = redis_options(redis).context("REDIS_URL")?;
    let installation = store.installation().await.context("can't read the id of the installation")?.id;
    masque_store_redis::open(&options, installation, host, LiveHosts::default()).await.context("REDIS_URL")
}

/// How Redis is reached.
///
/// # Errors
/// The URL is none of Redis, or the file with the password can't be read.
pub(crate) fn redis_options(redis: &Redis) -> anyhow::Result<RedisOptions> {
    let mut options = RedisOptions::from_url(redis.url.reveal())?;
    if let Some(file) = &redis.password_file {
        options = options.with_password_file(file)?;
    }
    options.command_timeout = redis.timeout;
    Ok(options)
}
