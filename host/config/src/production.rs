//! The rules of production.
//!
//! Threat: a host that is reachable without authentication or TLS, or with a secret that can be guessed. Policy: each rule is
//! an error where production is asked for. Pure: all violations are returned at once, so that an operator can fix them
//! together.

use masque_grants::IpNet;

use crate::config::Config;
use crate::database_url::{
    unverified_connection, unverified_redis_connection, weak_password, weak_redis_password,
};
use crate::diagnostic::{Diagnostic, Location};
use crate::environment::{CORS_ORIGINS, DATABASE_DIRECT_URL, DATABASE_URL, Environment, REDIS_URL};
use crate::sections::cors::Cors;
use crate::sections::database::Database;
use crate::sections::records::RecordContent;
use crate::sections::redis::Redis;

/// All violations of the rules. A weak password of a database, and a connection to it that others can read, are warnings: the
/// operator of the host may not be the one of the database. Only a password in the URL is judged. A violation without a
/// place in the configuration is reported at `asked_at`, where production is asked for.
pub(crate) fn check(config: &Config, environment: &Environment, asked_at: &Location) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let auth = &config.auth;
    if !auth.required {
        let at = auth.disabled_at.clone().unwrap_or_else(|| asked_at.clone());
        diagnostics.push(Diagnostic::error(
            at,
            "authentication is off, so whoever reaches the host is its one user",
            "Turn it on: remove this setting, and set JWT_SECRET_KEY or [auth.issuers.NAME].",
        ));
    }
    diagnostics.extend(
        weak_secrets(config)
            .into_iter()
            .map(|(at, what)| Diagnostic::error(at, what, "Make one with `openssl rand -base64 32`.")),
    );
    if config.cors == Cors::Anyone {
        diagnostics.push(Diagnostic::error(
            asked_at.clone(),
            format!("pages of every origin may call the host ({CORS_ORIGINS} or [cors] has `*`)"),
            "List the origins of your own pages.",
        ));
    }
    if config.tls.is_none() && config.server.trusted_proxies.is_empty() {
        diagnostics.push(Diagnostic::error(
            asked_at.clone(),
            "there is no [tls], and no proxy that could speak TLS is declared",
            "Set certificate and key in [tls], or name the proxy in `trusted_proxies` of [server].",
        ));
    }
    for network in config.server.trusted_proxies.iter().filter(|network| is_too_large(network)) {
        diagnostics.push(Diagnostic::error(
            asked_at.clone(),
            format!(
                "`trusted_proxies` of [server] has {network}: whoever is in it says from where requests come"
            ),
            "Name the proxies' own addresses.",
        ));
    }
    if config.admin.listen.is_none() && !config.admin.shared {
        diagnostics.push(Diagnostic::error(
            asked_at.clone(),
            "the admin API is on the public listener",
            "Set `listen` in [admin], or allow this with `shared = true` in [admin].",
        ));
    }
    // Without authentication it is the default, and the error above is what to correct.
    if config.records.content == RecordContent::Full
        && let Some(at) = &config.records.content_at
    {
        diagnostics.push(Diagnostic::warning(
            at.clone(),
            "texts of turns are recorded: prompts, replies and what plugins ask for",
            "Set `content = \"digests\"`, and `\"full\"` for as long as you look for something.",
        ));
    }
    diagnostics.extend(database_warnings(config.database.as_ref(), environment));
    diagnostics.extend(config.redis.server.iter().flat_map(redis_warnings));
    diagnostics
}

/// What is weak about the connection to the database.
pub(crate) fn database_warnings(database: Option<&Database>, environment: &Environment) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for name in [DATABASE_URL, DATABASE_DIRECT_URL] {
        let Some(url) = environment.get(name) else { continue };
        let at = || Location::Variable(name.to_owned());
        // A password from a file is not in the URL.
        let has_file = database.is_some_and(|database| database.password_file.is_some());
        if let Some(what) = weak_password("the database", url).filter(|_| !has_file) {
            diagnostics.push(Diagnostic::warning(at(), what, "Give the database's user a random password."));
        }
        if let Some(what) = unverified_connection(url) {
            let remedy =
                "Add `sslmode=verify-full` to the URL, and `sslrootcert` if its authority is your own.";
            diagnostics.push(Diagnostic::warning(at(), what, remedy));
        }
    }
    diagnostics
}

/// What is weak about the connection to Redis. It holds the limits and the text of running turns.
fn redis_warnings(redis: &Redis) -> Vec<Diagnostic> {
    let at = || Location::Variable(REDIS_URL.to_owned());
    let url = redis.url.reveal();
    let password = weak_redis_password(url).filter(|_| redis.password_file.is_none());
    let password = password
        .map(|what| Diagnostic::warning(at(), what, "Give Redis a random password and its user few rights."));
    let connection = unverified_redis_connection(url)
        .map(|what| Diagnostic::warning(at(), what, "Begin the URL with `rediss` instead of `redis`."));
    password.into_iter().chain(connection).collect()
}

/// Whether the network is larger than any network of proxies: the largest private IPv4 network has a prefix of 8 bits. 16
/// bits is the same measure for unique local IPv6 addresses.
fn is_too_large(network: &IpNet) -> bool {
    network.prefix_len() < if network.addr().is_ipv4() { 8 } else { 16 }
}

/// What is wrong with weak signing keys, each with its location.
pub(crate) fn weak_secrets(config: &Config) -> Vec<(Location, String)> {
    let secret = config.auth.secret.iter();
    secret
        .flat_map(|secret| {
            secret.keys.iter().filter_map(|key| Some((secret.location.clone(), key.weakness()?)))
        })
        .collect()
}
