//! Checks that a server is of the right kind and age, and that the user may do what a host does.

use std::num::NonZeroU32;
use std::time::Duration;

use masque_store::{Bucket, Owner, Quota, TurnId};
use redis::{RedisResult, Value, cmd};
use uuid::Uuid;

use crate::address::Node;
use crate::keys::Keys;
use crate::link::Link;
use crate::open_error::RedisOpenError;
use crate::refusal::Refusal;
use crate::turn_events::Append;
use crate::{inbox, rate_limits, turn_events, turn_slots};

/// The oldest version that is used: with `TIME` before writes in scripts, and events of connections.
const OLDEST: (u32, u32) = (6, 2);

/// What a server is used as, as `HELLO` calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Standalone,
    Sentinel,
    Cluster,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
        }
    }
}

/// Checks the version and the kind of a server.
pub(crate) async fn inspect_server(link: &Link, node: &Node, wanted: Mode) -> Result<(), Refusal> {
    let target = node.to_string();
    let hello: Value = link.query(&cmd("HELLO")).await.map_err(|error| Refusal::of(&error, &target))?;
    let field = |name: &str| text_field(&hello, name).unwrap_or_default();
    let version = field("version");
    if !is_new_enough(&version) {
        return Err(Refusal::Lasting(RedisOpenError::OldServer { target, found: version }));
    }
    let mode = field("mode");
    if mode != wanted.name() {
        let reason = match mode.as_str() {
            "sentinel" => "is a sentinel; write redis+sentinel://HOST,HOST/SERVICE",
            "cluster" => "is a node of a cluster; write redis+cluster://HOST,HOST",
            _ if wanted == Mode::Sentinel => "is no sentinel; name the sentinels, or write redis://",
            _ => "belongs to no cluster; write redis:// in place of redis+cluster://",
        };
        return Err(Refusal::Lasting(RedisOpenError::WrongKind { target, reason: reason.into() }));
    }
    if wanted == Mode::Standalone && field("role") != "master" {
        return Err(Refusal::Transient(format!(
            "the server at {target} is a replica, which takes no writes"
        )));
    }
    Ok(())
}

/// Runs every operation of a host, on names that no operation uses, to learn whether the server takes writes and the user
/// may do all of it.
pub(crate) async fn inspect_rights(link: &Link, keys: &Keys, target: &str) -> Result<(), Refusal> {
    let refuse = |error| Refusal::of(&error, target);
    try_operations(link, keys).await.map_err(refuse)?;
    if link.is_cluster() {
        // Goes to the primary of every part of the cluster.
        link.query::<()>(&cmd("PING")).await.map_err(refuse)?;
    }
    Ok(())
}

async fn try_operations(link: &Link, keys: &Keys) -> RedisResult<()> {
    let quota = Quota { per_minute: NonZeroU32::MAX, burst: NonZeroU32::MAX };
    rate_limits::take_on(link, keys, &[Bucket { name: "", quota }]).await?;

    let nobody = Owner { tenant: String::new(), issuer: String::new(), subject: String::new() };
    turn_slots::take_on(link, keys, &nobody, Uuid::nil(), u32::MAX).await?;
    turn_slots::renew_on(link, keys, &[&(nobody.clone(), Uuid::nil())]).await?;
    turn_slots::release_on(link, keys, &nobody, Uuid::nil()).await?;

    // A log that is new, so that all of the script runs.
    let turn = TurnId::new();
    let brief = Duration::from_secs(1);
    let events = [String::new()];
    let append = Append { attempt: 1, first: 0, events: &events, has_ended: true };
    turn_events::append_on(link, keys, turn, append, brief).await?;
    turn_events::read_on(link, keys, turn, 0).await?;

    // A host of this id does not exist.
    inbox::publish_on(link, &keys.host_channel(Uuid::nil()), "").await
}

fn text_field(hello: &Value, name: &str) -> Option<String> {
    let as_text = |value: &Value| match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    };
    let Value::Map(fields) = hello else { return None };
    fields.iter().find(|(key, _)| as_text(key).as_deref() == Some(name)).and_then(|(_, value)| as_text(value))
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) >= OLDEST
}

#[cfg(test)]
mod tests {
    use super::is_new_enough;

    #[test]
    fn versions_are_compared_by_number() {
        for (version, is_new) in [
            ("5.0.7", false),
            ("6.0.16", false),
            ("6.2.0", true),
            ("6.10.1", true),
            ("7.0.15", true),
            ("10.0", true),
            ("255.255.255", true),
            ("8.0.0-rc1", true),
            ("", false),
            ("unknown", false),
        ] {
            assert_eq!(is_new_enough(version), is_new, "{version}");
        }
    }
}
