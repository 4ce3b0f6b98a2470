//! The whole configuration of one host: plain, checked values. Whoever holds one need not check it again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use masque_grants::{Credential, Name};

use crate::key_locations::KeyLocations;
use crate::otel::Traces;
use crate::sections::active_set::ActiveSetOptions;
use crate::sections::admin::Admin;
use crate::sections::auth::Auth;
use crate::sections::companions::Companion;
use crate::sections::cors::Cors;
use crate::sections::data::Data;
use crate::sections::database::Database;
use crate::sections::erasure::Erasure;
use crate::sections::jobs::Jobs;
use crate::sections::limits::Allowance;
use crate::sections::log::Log;
use crate::sections::plugins::Plugin;
use crate::sections::records::Records;
use crate::sections::redis::RedisChoice;
use crate::sections::retention::Retention;
use crate::sections::sandbox::Sandbox;
use crate::sections::server::Server;
use crate::sections::tls::Tls;
use crate::sections::turn::{Drain, Stream, Turn};
use crate::snapshot::FileSnapshot;

/// The whole configuration of one host.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[tls]`; `None`: the host serves plain HTTP.
    pub tls: Option<Tls>,
    /// `[admin]`
    pub admin: Admin,
    /// `[cors]`
    pub cors: Cors,
    /// `[auth]`
    pub auth: Auth,
    /// `[stream]`
    pub stream: Stream,
    /// `[turn]`
    pub turn: Turn,
    /// `[jobs]`
    pub jobs: Jobs,
    /// `[limits]`
    pub limits: Allowance,
    /// `[drain]`
    pub drain: Drain,
    /// `[data]`
    pub data: Data,
    /// `DATABASE_URL` and `[database]`; `None`: state is kept in SQLite, in the data folder.
    pub database: Option<Database>,
    /// `REDIS_URL`, `REDIS_ENABLED` and `[redis]`
    pub redis: RedisChoice,
    /// `[erasure]`
    pub erasure: Erasure,
    /// `[retention]`
    pub retention: Retention,
    /// `[records]`
    pub records: Records,
    /// `[log]`
    pub log: Log,
    /// The `OTEL_*` variables; `None`: no traces are sent.
    pub traces: Option<Traces>,
    /// `[sandbox]`
    pub sandbox: Sandbox,
    /// `[active_set]`
    pub active_set: ActiveSetOptions,
    /// `[companions.NAME]`. Every plugin that one of them names is in `plugins`.
    pub companions: BTreeMap<Name, Companion>,
    /// `[plugins.NAME]`, the components of the plugins folder, and the built-in plugins that a companion names.
    pub plugins: BTreeMap<Name, Plugin>,
    /// `[credentials.NAME]`, also those that no plugin of this file has.
    pub credentials: BTreeMap<Name, Arc<Credential>>,
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// Where every key is in the file, for mistakes that are found later, such as settings that the schema of a plugin
    /// refuses.
    pub locations: KeyLocations,
    /// The files that the configuration was read from.
    pub files: FileSnapshot,
}
