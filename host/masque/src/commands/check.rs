//! The command `masque check`: validates a configuration, plugins, TLS files and the data folder included, without starting
//! a host.

use std::time::Duration;

use anyhow::Error;
use humantime::format_duration;
use masque_config::{Config, Diagnostic, Diagnostics, Location};
use masque_store_sqlite::check_data_folder;

use crate::builtins;
use crate::compiler::compiler;
use crate::convert::http::verify_tls;
use crate::convert::traces;
use crate::error_text::with_causes;
use crate::shared::redis_options;
use crate::store::options_of;

/// The defaults of `timeout` in [drain] and in [turn].
const DEFAULT_DRAIN: Duration = Duration::from_secs(15);
const DEFAULT_TURN: Duration = Duration::from_secs(120);

/// Validates a configuration and returns a summary of it, with warnings.
///
/// # Errors
/// Every error in the plugins, their settings, the TLS files, and the data folder.
pub(crate) async fn check(config: &Config) -> Result<(String, Diagnostics), Diagnostics> {
    let mut diagnostics = verify_contents(config).await;
    diagnostics.extend(verify_store(config).await);
    diagnostics.extend(verify_redis(config));
    diagnostics.extend(short_drain(config));
    let diagnostics = Diagnostics::new(diagnostics);
    if diagnostics.are_fatal() { Err(diagnostics) } else { Ok((summary(config), diagnostics)) }
}

/// Returns what is wrong with the files that a configuration names: plugins with their settings, and TLS files, those for the
/// collector of traces included.
pub(crate) async fn verify_contents(config: &Config) -> Vec<Diagnostic> {
    let mut diagnostics = masque_companions::verify(config, compiler(), builtins::component).await;
    diagnostics.extend(verify_tls(config));
    diagnostics.extend(traces::verify(config));
    diagnostics
}

/// Returns why a host could not use its data folder, or the URL of its database. A host that runs on it already is no
/// mistake, and a database is not asked.
async fn verify_store(config: &Config) -> Option<Diagnostic> {
    let folder = &config.data.folder;
    if let Some(database) = &config.database {
        let direct = database.direct_url.as_ref().map(|url| ("DATABASE_DIRECT_URL", url));
        let urls = [("DATABASE_URL", &database.url)].into_iter().chain(direct);
        let remedy = "Correct it, or unset it to keep state in SQLite, in the data folder.";
        return urls.into_iter().find_map(|(variable, url)| {
            let error = options_of(database, url).err()?;
            let at = Location::Variable(variable.to_owned());
            Some(Diagnostic::error(at, with_causes(&error), remedy))
        });
    }
    let error = check_data_folder(folder).await.err()?;
    let remedy =
        "Make the folder usable for this user, or name another one with `--data` or in [data] `folder`.";
    Some(Diagnostic::error(Location::whole_file(folder), with_causes(&Error::new(error)), remedy))
}

/// Returns why a host could not use the URL of Redis. Redis is not asked.
fn verify_redis(config: &Config) -> Option<Diagnostic> {
    let error = redis_options(config.redis.server.as_ref()?).err()?;
    let at = Location::Variable("REDIS_URL".to_owned());
    Some(Diagnostic::error(at, with_causes(&error), "Correct it, or unset it to use no Redis."))
}

/// Warns that a host which stops interrupts turns that it would otherwise let run. A host alone with the defaults is not
/// warned of: its operator has chosen nothing, and clients find it away anyway.
fn short_drain(config: &Config) -> Option<Diagnostic> {
    let (drain, turn) = (config.drain.timeout, config.turn.timeout);
    let what = || {
        format!(
            "a turn may run for {} (`timeout` in [turn]), and a host that stops gives it {} (`timeout` in [drain])",
            format_duration(turn),
            format_duration(drain)
        )
    };
    let remedy = "Longer turns end as interrupted when the host stops. To let them end, raise `timeout` in [drain] and the \
                  time that your supervisor gives the process.";
    let file = config.file.as_deref();
    let at = || file.map_or_else(|| Location::Builtin("defaults".to_owned()), Location::whole_file);
    let is_chosen = (drain, turn) != (DEFAULT_DRAIN, DEFAULT_TURN) || config.database.is_some();
    (drain < turn && is_chosen).then(|| Diagnostic::warning(at(), what(), remedy))
}

/// Describes the host that this configuration would start.
fn summary(config: &Config) -> String {
    let file =
        config.file.as_ref().map_or("none, only defaults".to_owned(), |file| file.display().to_string());
    let mut lines = vec![
        "The configuration is valid.".to_owned(),
        format!("file        {file}"),
        format!("listen      {}", config.server.listen),
        format!("data        {}", config.data.folder.display()),
        format!(
            "state       {}",
            if config.database.is_some() { "PostgreSQL" } else { "SQLite, in the data folder" }
        ),
        format!("shared      {}", if config.redis.server.is_some() { "Redis" } else { "nothing" }),
        format!("callers     {}", authentication(config)),
        format!("traces      {}", if config.traces.is_some() { "sent to a collector" } else { "not sent" }),
    ];
    if let Some(tls) = &config.tls {
        lines.push(format!("tls         {}", tls.certificate.path.display()));
    }
    if let Some(address) = config.admin.listen {
        lines.push(format!("admin       {address}"));
    }
    for (name, companion) in &config.companions {
        let models: Vec<&str> = companion.models.iter().map(|model| model.as_str()).collect();
        let (persona, memory, models) = (&companion.persona, &companion.memory, models.join(", "));
        lines.push(format!("companion   {name}: persona {persona}, memory {memory}, models {models}"));
    }
    for (name, plugin) in &config.plugins {
        lines.push(format!("plugin      {name}: {}", plugin.source));
    }
    lines.push(format!("digest      {}", config.digest()));
    lines.join("\n")
}

/// Describes how callers authenticate.
fn authentication(config: &Config) -> String {
    let auth = &config.auth;
    if !auth.required {
        return "prove nothing: authentication is off, for this machine alone".to_owned();
    }
    if auth.secret.is_none() && auth.issuers.is_empty() {
        return "API keys; no tokens, since there is neither a secret nor an issuer".to_owned();
    }
    let own = auth.secret.as_ref().map(|_| "tokens of this host".to_owned());
    let issuers = auth.issuers.keys().map(|name| format!("tokens of {name}"));
    let ways: Vec<_> = ["API keys".to_owned()].into_iter().chain(own).chain(issuers).collect();
    ways.join(", ")
}

#[cfg(test)]
mod tests {
    use masque_config::{ConfigSource, Environment, Flags};

    use super::*;
    use crate::builtins::ELARA_CARD;

    fn config() -> Config {
        let source = ConfigSource {
            flags: Flags::default(),
            environment: Environment::default(),
            folder: std::env::temp_dir().join("nowhere"),
            default_card: ELARA_CARD.into(),
        };
        source.load().unwrap().config
    }

    #[test]
    fn the_defaults_are_known() {
        let config = config();
        assert_eq!((config.drain.timeout, config.turn.timeout), (DEFAULT_DRAIN, DEFAULT_TURN));
        assert_eq!(short_drain(&config), None);
    }

    #[test]
    fn a_drain_that_is_shorter_than_a_turn_is_a_warning() {
        let mut config = config();
        config.drain.timeout = config.turn.timeout;
        assert_eq!(short_drain(&config), None);
        config.drain.timeout -= Duration::from_secs(1);
        let warning = short_drain(&config).unwrap().to_string();
        assert!(warning.contains("1m 59s") && warning.contains("[drain]"), "{warning}");
    }

    #[test]
    fn a_host_with_neither_secret_nor_issuer_is_said_to_take_no_tokens() {
        let mut config = config();
        config.auth.required = true;
        assert_eq!(
            authentication(&config),
            "API keys; no tokens, since there is neither a secret nor an issuer"
        );
    }

    #[test]
    fn a_summary_names_everything_an_operator_asks_for() {
        let summary = summary(&config());
        for part in [
            "listen      127.0.0.1:8000",
            "masque-data",
            "companion   elara: persona elara, memory window, models offline",
            "callers     prove nothing",
            "plugin      window: builtin:window",
            "digest      sha256:",
        ] {
            assert!(summary.contains(part), "{part} is not in:\n{summary}");
        }
    }
}
