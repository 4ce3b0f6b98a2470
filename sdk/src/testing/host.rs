//! The contract's imports, served from the in-memory host of this thread.

use super::host_state::{LogLine, with_host};
use super::http::{HttpRequest, HttpResponse, Transport};
use crate::bindings::state::{Entry, Scope, WriteOptions};
use crate::{Failure, Message, Prompt, Reply, Result};

pub(crate) fn settings() -> String {
    with_host(|host| host.settings.clone()).unwrap_or_else(|| "{}".into())
}

pub(crate) fn log(level: &str, message: &str, fields: &[(String, String)]) {
    let line = LogLine { level: level.into(), message: message.into(), fields: fields.to_vec() };
    with_host(|host| host.log.push(line));
}

/// Fails unless the plugin has this grant.
fn require_grant(grant: &str) -> Result<()> {
    match with_host(|host| host.denied.contains(grant)) {
        true => Err(Failure::denied(format!("needs the grant `{grant}`"))),
        false => Ok(()),
    }
}

/// Fails unless the plugin may use this scope of its state.
fn require_scope(scope: Scope) -> Result<()> {
    require_grant("state")?;
    if matches!(scope, Scope::Shared) { require_grant("state_shared") } else { Ok(()) }
}

pub(crate) fn get(scope: Scope, key: &str) -> Result<Option<Entry>> {
    require_scope(scope)?;
    let stored = with_host(|host| host.state.get(&(scope as u8, key.into())).cloned());
    Ok(stored.map(|(value, version)| Entry { value, version }))
}

pub(crate) fn set(scope: Scope, key: &str, value: &[u8], options: WriteOptions) -> Result<u64> {
    let version = matching_version(scope, key, options.if_version)? + 1;
    with_host(|host| host.state.insert((scope as u8, key.into()), (value.to_vec(), version)));
    Ok(version)
}

pub(crate) fn delete(scope: Scope, key: &str, if_version: Option<u64>) -> Result<()> {
    matching_version(scope, key, if_version)?;
    with_host(|host| host.state.remove(&(scope as u8, key.into())));
    Ok(())
}

pub(crate) fn add(scope: Scope, key: &str, amount: i64) -> Result<i64> {
    let stored = get(scope, key)?.map_or_else(|| Ok("0".into()), |entry| String::from_utf8(entry.value));
    let number = stored.ok().and_then(|text| text.parse::<i64>().ok());
    let sum = number.and_then(|number| number.checked_add(amount)).ok_or_else(|| {
        Failure::invalid(format!("the stored value `{key}` is no integer, or the sum too large"))
    })?;
    let options = WriteOptions { if_version: None, ttl_ms: None };
    set(scope, key, sum.to_string().as_bytes(), options).map(|_| sum)
}

pub(crate) fn list(scope: Scope, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>> {
    require_scope(scope)?;
    let limit = usize::try_from(limit.min(1000)).unwrap_or(1000);
    Ok(with_host(|host| {
        let keys = host.state.keys().filter(|(of, _)| *of == scope as u8).map(|(_, key)| key.as_str());
        let wanted = keys.filter(|key| key.starts_with(prefix) && after.is_none_or(|after| *key > after));
        wanted.take(limit).map(String::from).collect()
    }))
}

pub(crate) fn page(before: Option<&str>, limit: u32) -> Result<Vec<Message>> {
    require_grant("history")?;
    with_host(|host| {
        let all = host.history.iter();
        let earlier: Vec<_> = all.take_while(|m| before.is_none() || m.id.as_deref() != before).collect();
        let skipped = earlier.len().saturating_sub(usize::try_from(limit.min(1000)).unwrap_or(1000));
        Ok(earlier.into_iter().skip(skipped).cloned().collect())
    })
}

pub(crate) fn ask(_: &Prompt) -> Result<Reply> {
    require_grant("models")?;
    let reply = with_host(|host| host.replies.pop_front());
    reply.unwrap_or_else(|| Err(Failure::unavailable("no reply was queued with testing::reply_with")))
}

pub(crate) fn transport() -> Option<Transport> {
    with_host(|host| host.transport.clone())
}

/// Records the request and returns the response that was queued for it, if there is one.
pub(crate) fn send(request: HttpRequest) -> Option<HttpResponse> {
    with_host(|host| {
        host.requests.push(request);
        host.responses.pop_front()
    })
}

/// Returns the key's current version, 0 if it is absent. Fails if it is not the one that is wanted.
fn matching_version(scope: Scope, key: &str, wanted: Option<u64>) -> Result<u64> {
    let current = get(scope, key)?.map_or(0, |entry| entry.version);
    match wanted {
        Some(wanted) if wanted != current => {
            Err(Failure::conflict(format!("`{key}` has the version {current}, not {wanted}")))
        }
        _ => Ok(current),
    }
}
