//! The rules of production.
//!
//! Threat: a host that is reachable without authentication or TLS, or with a secret that can be guessed. Policy: each rule is
//! an error where production is asked for. Pure: all violations are returned at once, so that an operator can fix them
//! together.

use masque_grants::IpNet;

use crate::config::Config;
use crate::diagnostic::{Diagnostic, Location};
use crate::environment::{CORS_ORIGINS, Environment};
use crate::sections::cors::Cors;
use crate::signing_key::is_guessable;

/// All violations of the rules. A weak password of a database that this version does not use is a warning. A violation
/// without a place in the configuration is reported at `asked_at`, where production is asked for.
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
    if let Some(what) = environment.get("DATABASE_URL").and_then(weak_password) {
        let at = Location::Variable("DATABASE_URL".to_owned());
        diagnostics.push(Diagnostic::warning(at, what, "Give the database's user a random password."));
    }
    diagnostics
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

/// What is wrong with the password in the URL of a database, if anything.
fn weak_password(url: &str) -> Option<String> {
    const DEFAULTS: [&str; 9] =
        ["postgres", "password", "masque", "admin", "root", "secret", "changeme", "example", "test"];
    const MIN_CHARACTERS: usize = 12;
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (login, _) = authority.rsplit_once('@')?;
    let password = login.split_once(':').map_or("", |(_, password)| password);
    if password.is_empty() {
        return Some("the database's user has no password".to_owned());
    }
    let lower = password.to_ascii_lowercase();
    if DEFAULTS.contains(&lower.as_str()) {
        return Some("the database's password is a default".to_owned());
    }
    (password.chars().count() < MIN_CHARACTERS || is_guessable(password))
        .then(|| "the database's password is weak".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_password_that_is_a_default_or_short_is_weak() {
        for (url, weak) in [
            ("postgres://masque:k8Hq2vTz9RxL4mWp@db/masque", false),
            ("postgres://masque:p@ss:k8Hq2vTz9RxL4mWp@db/masque", false),
            ("postgres://db/masque", false),
            ("postgres://masque@db/masque", true),
            ("postgres://masque:@db/masque", true),
            ("postgres://masque:Postgres@db/masque", true),
            ("postgres://masque:k8Hq2vTz@db/masque", true),
            ("postgres://masque:aaaaaaaaaaaaaaaa@db/masque", true),
        ] {
            assert_eq!(weak_password(url).is_some(), weak, "{url}");
        }
    }
}
