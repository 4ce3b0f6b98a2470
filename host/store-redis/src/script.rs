//! The scripts that run on the server.
//!
//! A script is called by its hash. A server that does not know it, since it was restarted or told to forget its scripts, is
//! sent the text.

use std::sync::LazyLock;

use masque_telemetry::metrics::state::{MeasuredOperation, QUERY_ERRORS};
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs, cmd};

use crate::link::Link;

/// The value of the label `database` for a Redis.
const DATABASE: &str = "redis";

/// A script.
#[derive(Debug)]
pub(crate) struct Script {
    /// The operation, for metrics.
    name: &'static str,
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(name: &'static str, text: &'static str) -> Self {
        QUERY_ERRORS.begin(&[DATABASE, name]);
        Self { name, text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// A call with these keys, which have one hash tag.
    pub(crate) fn call(&'static self, keys: &[String]) -> ScriptCall {
        let command = |name: &str, script: &str| {
            let mut command = cmd(name);
            command.arg(script).arg(keys.len()).arg(keys);
            command
        };
        ScriptCall {
            name: self.name,
            by_hash: command("EVALSHA", &self.hash),
            by_text: command("EVAL", self.text),
        }
    }
}

/// A call of a script.
pub(crate) struct ScriptCall {
    name: &'static str,
    by_hash: Cmd,
    by_text: Cmd,
}

impl ScriptCall {
    /// With one more argument, or several.
    pub(crate) fn arg<A: ToRedisArgs>(mut self, argument: A) -> Self {
        self.by_hash.arg(&argument);
        self.by_text.arg(argument);
        self
    }

    /// Runs the script.
    pub(crate) async fn run<T: FromRedisValue>(self, link: &Link) -> RedisResult<T> {
        let measured = MeasuredOperation::begin(DATABASE, self.name);
        let answer = match link.query(&self.by_hash).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                link.query(&self.by_text).await
            }
            answer => answer,
        };
        measured.end(answer.is_ok());
        answer
    }
}

/// Prepares all scripts. Their failures are counted from 0 then, so that the first is seen.
pub(crate) fn prepare() {
    for script in [&TAKE_RATES, &TAKE_SLOT, &RENEW_SLOTS, &RELEASE_SLOT, &APPEND_EVENTS, &READ_EVENTS] {
        LazyLock::force(script);
    }
}

pub(crate) static TAKE_RATES: LazyLock<Script> =
    LazyLock::new(|| Script::new("take_rates", include_str!("scripts/take_rates.lua")));
pub(crate) static TAKE_SLOT: LazyLock<Script> =
    LazyLock::new(|| Script::new("take_slot", include_str!("scripts/take_slot.lua")));
pub(crate) static RENEW_SLOTS: LazyLock<Script> =
    LazyLock::new(|| Script::new("renew_slots", include_str!("scripts/renew_slots.lua")));
pub(crate) static RELEASE_SLOT: LazyLock<Script> =
    LazyLock::new(|| Script::new("release_slot", include_str!("scripts/release_slot.lua")));
pub(crate) static APPEND_EVENTS: LazyLock<Script> =
    LazyLock::new(|| Script::new("append_events", include_str!("scripts/append_events.lua")));
pub(crate) static READ_EVENTS: LazyLock<Script> =
    LazyLock::new(|| Script::new("read_events", include_str!("scripts/read_events.lua")));
