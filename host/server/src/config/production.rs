//! What a host in production must not be. Pure: facts in, everything that is wrong out, so that an operator mends it all
//! at once.

use masque_runtime::IpNet;

use super::edge::CORS_ORIGINS;
use super::environment::Environment;
use super::problem::{Place, Problem};
use super::secrets;
use super::types::{Config, Cors};

/// Everything that is not safe, as mistakes; what is merely unwise, as warnings.
pub(super) fn unsafe_in(config: &Config, environment: &Environment, place: &Place) -> Vec<Problem> {
    let mut problems = Vec::new();
    let auth = &config.auth;
    if !auth.required {
        let at = auth.switched_off_at.clone().unwrap_or_else(|| place.clone());
        problems.push(Problem::error(
            at,
            "authentication is off, so whoever reaches the host is its one user",
            "Leave it on, with JWT_SECRET_KEY or [auth.issuers.NAME].",
        ));
    }
    problems.extend(
        weak_secrets(config)
            .into_iter()
            .map(|(at, what)| Problem::error(at, what, "Make one with `openssl rand -base64 32`.")),
    );
    if config.cors == Cors::Anyone {
        problems.push(Problem::error(
            place.clone(),
            format!("pages of every origin may call the host ({CORS_ORIGINS} or [cors] has `*`)"),
            "List the origins of your own pages.",
        ));
    }
    if config.tls.is_none() && config.server.trusted_proxies.is_empty() {
        problems.push(Problem::error(
            place.clone(),
            "there is no [tls], and no proxy that could speak TLS is declared",
            "Set certificate and key in [tls], or name the proxy in `trusted_proxies` of [server].",
        ));
    }
    for network in config.server.trusted_proxies.iter().filter(|network| is_vast(network)) {
        problems.push(Problem::error(
            place.clone(),
            format!(
                "`trusted_proxies` of [server] has {network}: whoever is in it says from where requests come"
            ),
            "Name the proxies' own addresses.",
        ));
    }
    if config.admin.listen.is_none() && !config.admin.shared {
        problems.push(Problem::error(
            place.clone(),
            "the admin API is on the public listener",
            "Set `listen` in [admin], or say aloud that it may be there: `shared = true` in [admin].",
        ));
    }
    if let Some(what) = environment.get("DATABASE_URL").and_then(weak_password) {
        let at = Place::Variable("DATABASE_URL".to_owned());
        problems.push(Problem::warning(at, what, "Give the database's user a random password."));
    }
    problems
}

/// Larger than what anyone has proxies in: the private networks are of 8 bits at most, and 16 of a unique local prefix.
fn is_vast(network: &IpNet) -> bool {
    network.prefix_len() < if network.addr().is_ipv4() { 8 } else { 16 }
}

/// Secrets that nobody should rely on, each with its place.
pub(super) fn weak_secrets(config: &Config) -> Vec<(Place, String)> {
    let secret = config.auth.secret.iter();
    secret
        .flat_map(|secret| secret.keys.iter().filter_map(|key| Some((secret.place.clone(), key.weakness()?))))
        .collect()
}

/// What is wrong with the password in a database's URL, if it has one.
fn weak_password(url: &str) -> Option<String> {
    const DEFAULTS: [&str; 9] =
        ["postgres", "password", "masque", "admin", "root", "secret", "changeme", "example", "test"];
    const LEAST: usize = 12;
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
    (password.chars().count() < LEAST || secrets::is_guessable(password))
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
