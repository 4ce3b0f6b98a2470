//! `[auth]`: whether callers have to prove who they are, by which secret, and whose tokens count. Which of it is safe
//! enough for production is judged in `production`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use super::document::{Unreadable, read_bounded};
use super::environment::{self, Environment, Stage};
use super::problem::Place;
use super::report::Report;
use super::secrets;
use super::section::{Found, Section};
use super::types::{Auth, Issuer, JwkSource, Name, SigningSecret};
use super::values::{Form, Wrong};

pub(super) const SECRET: &str = "JWT_SECRET_KEY";
pub(super) const SECRET_FILE: &str = "JWT_SECRET_KEY_FILE";
pub(super) const REQUIRE: &str = "REQUIRE_AUTHENTICATION";

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What revocations are kept for: a token that lived longer could outlive its own.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// The algorithms of identity providers, by RFC 7518, section 3.1 and RFC 8037. Those with a shared secret are not among
/// them: whoever can verify with one can also sign.
const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

const NAME: Form = Form { what: "a name", example: "\"masque\"" };
const URL: Form = Form { what: "an https URL", example: "\"https://id.example.com/keys\"" };

/// `beside` is where the file's own paths begin, `folder` where those of variables do.
pub(super) fn read(
    mut section: Section<'_, '_>,
    environment: &Environment,
    stage: Stage,
    beside: &Path,
    folder: &Path,
) -> Auth {
    let report = section.report;
    let required = section.read("required", Form { what: "true or false", example: "true" }, |value| {
        super::values::flag(value.get_ref())
    });
    let name = |section: &mut Section<'_, '_>, key| {
        let found = section.read(key, NAME, |value| match value.get_ref().as_str() {
            Some("" | "local" | "api-key") => Err(Wrong::Form),
            Some(text) => Ok(text.to_owned()),
            None => Err(Wrong::Type),
        });
        section.defaults(key, || "masque".to_owned());
        found.map_or_else(|| "masque".to_owned(), |found| found.value)
    };
    let issuer = name(&mut section, "issuer");
    let audience = name(&mut section, "audience");
    let leeway = section.duration("leeway", 30 * SECOND, Duration::ZERO..=5 * MINUTE);
    let token_lifetime = section.duration("token_lifetime", HOUR, SECOND..=LONGEST_LIFE);
    let max_token_lifetime = section.duration("max_token_lifetime", DAY, SECOND..=LONGEST_LIFE);
    let in_file =
        section.read("secret_file", Form { what: "a path", example: "\"/run/secrets/jwt\"" }, |value| {
            match value.get_ref().as_str() {
                Some("") => Err(Wrong::Form),
                Some(path) => Ok(beside.join(path)),
                None => Err(Wrong::Type),
            }
        });
    let secret = secret(environment, folder, in_file, report);
    // By `iss` a token finds its keys: two with one would be a question of order.
    let mut taken = vec![issuer.clone()];
    let mut issuers: BTreeMap<Name, Issuer> = BTreeMap::new();
    for (name, table) in section.named("issuers") {
        let Some(Found { value: read, span }) = one(table, beside) else { continue };
        if taken.contains(&read.issuer) {
            let what = format!("`{}` is the issuer of two", read.issuer.escape_debug());
            report.error_at(&span, what, "Name each issuer once; this host's own is `issuer` in [auth].");
        }
        taken.push(read.issuer.clone());
        issuers.insert(name, read);
    }
    section.finish();

    let place = |found: &Found<bool>| report.place(&found.span);
    let chosen = match environment::choice(environment, REQUIRE, report) {
        Some(choice) => Some((choice, Place::Variable(REQUIRE.to_owned()))),
        None => required.as_ref().map(|found| (found.value, place(found))),
    };
    let has_keys = secret.is_some() || !issuers.is_empty();
    Auth {
        required: chosen.as_ref().map_or(has_keys || stage.is_strict(), |(choice, _)| *choice),
        switched_off_at: chosen.filter(|(choice, _)| !choice).map(|(_, place)| place),
        issuer,
        audience,
        leeway,
        token_lifetime: token_lifetime.min(max_token_lifetime),
        max_token_lifetime,
        secret,
        issuers,
    }
}

/// The variable, or a file that a variable or the configuration names.
fn secret(
    environment: &Environment,
    folder: &Path,
    in_file: Option<Found<PathBuf>>,
    report: &Report<'_>,
) -> Option<SigningSecret> {
    let text = environment.get(SECRET).map(|text| (text.to_owned(), Place::Variable(SECRET.to_owned())));
    let by_variable =
        environment.get(SECRET_FILE).map(|path| (folder.join(path), Place::Variable(SECRET_FILE.to_owned())));
    let file = by_variable.or(in_file.map(|found| (found.value, report.place(&found.span))));
    if let (Some((_, place)), Some(_)) = (&file, &text) {
        report.error(
            place.clone(),
            format!("the secret is given twice, in {SECRET} and in a file"),
            "Keep one of the two.",
        );
    }
    if let Some((text, place)) = text {
        return Some(SigningSecret { keys: vec![secrets::plain(&text)], file: None, place });
    }
    let (path, place) = file?;
    match from_file(&path) {
        Ok(keys) => Some(SigningSecret { keys, file: Some(path), place }),
        Err(what) => {
            report.error(
                place,
                what,
                "The file holds one secret, or a JWK Set of keys with `kty` \"oct\" that the host's user may read.",
            );
            None
        }
    }
}

/// The secrets that a file holds, or what is wrong with it.
pub(crate) fn from_file(path: &Path) -> Result<Vec<secrets::NamedSecret>, String> {
    const MOST: u64 = 64 * 1024;
    let bytes = read_bounded(path, MOST).map_err(|error| match error {
        Unreadable::Missing => format!("there is no file {}", path.display()),
        Unreadable::TooLarge => format!("{} is larger than 64 KiB", path.display()),
        Unreadable::Other(error) => format!("{} can't be read: {error}", path.display()),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", path.display()))?;
    secrets::parse(&text).map_err(|what| format!("{}: {what}", path.display()))
}

/// `[auth.issuers.NAME]`
fn one(mut section: Section<'_, '_>, beside: &Path) -> Option<Found<Issuer>> {
    let report = section.report;
    let text = |value: &toml::Spanned<toml::de::DeValue<'_>>| match value.get_ref().as_str() {
        Some("") => Err(Wrong::Form),
        Some(text) => Ok(text.to_owned()),
        None => Err(Wrong::Type),
    };
    let form = Form { what: "the exact `iss` of its tokens", example: "\"https://id.example.com/\"" };
    let issuer = section.read("issuer", form, text);
    section.require("issuer", form);
    let audience = audience(&mut section);
    let file = section.read("jwks_file", Form { what: "a path", example: "\"keys.json\"" }, |value| {
        text(value).and_then(|path| jwks_file(beside.join(path)))
    });
    let url = section.read("jwks_url", URL, |value| text(value).and_then(|text| fetched(&text)));
    if section.has("jwks_file") && section.has("jwks_url") {
        section.refuse_key(
            "jwks_url",
            "the keys are named twice, by `jwks_file` and by `jwks_url`",
            "Keep one of the two.",
        );
    }
    let form = Form { what: "a list of algorithms", example: "[\"RS256\"]" };
    let algorithms = section.list("algorithms", form, |text| match ALGORITHMS.contains(&text) {
        true => Ok(text.to_owned()),
        false if text.starts_with("HS") => Err(Wrong::Other(
            format!("`{}` has a secret that whoever verifies could sign with", text.escape_debug()),
            "Use the keys of a pair, such as RS256; for a shared secret see `secret_file` in [auth]."
                .to_owned(),
        )),
        false => Err(Wrong::Other(
            format!("`{}` is no algorithm of this host", text.escape_debug()),
            format!("There are {}.", ALGORITHMS.join(", ")),
        )),
    });
    if section.is_empty_list("algorithms") {
        section.refuse_key(
            "algorithms",
            "without an algorithm no token can be verified",
            "Name one, such as \"RS256\".",
        );
    }
    section.defaults("algorithms", || "[\"RS256\"]".to_owned());
    let typ = section.read("typ", Form { what: "a type of token", example: "\"at+jwt\"" }, text);
    let claim = Form { what: "a claim", example: "\"scope\"" };
    let scope_claim = section.read("scope_claim", claim, text);
    section.defaults("scope_claim", || "scope".to_owned());
    let tenant_claim = section.read("tenant_claim", claim, text);
    let scopes = Form { what: "a list of scopes", example: "[\"chat\"]" };
    let default_scopes = section.list("default_scopes", scopes, |text| match text {
        "chat" | "admin:read" | "admin:write" => Ok(text.to_owned()),
        _ => Err(Wrong::Other(
            format!("`{}` is no scope that a token can have", text.escape_debug()),
            "Tokens have `chat`, `admin:read` and `admin:write`.".to_owned(),
        )),
    });
    let refresh = section.duration("refresh", 15 * MINUTE, SECOND..=DAY);
    let cooldown = section.duration("cooldown", 10 * SECOND, SECOND / 100..=HOUR);
    section.finish();

    let issuer = issuer?;
    let source = match (file, url) {
        (Some(file), _) => JwkSource::File(file.value),
        (None, Some(url)) => JwkSource::Url(url.value),
        (None, None) => match fetched(&issuer.value) {
            Ok(_) => JwkSource::Discovery,
            Err(_) => {
                let what = "the keys can't be looked for where `issuer` is no https URL";
                report.error_at(&issuer.span, what, "Add `jwks_url` or `jwks_file`.");
                return None;
            }
        },
    };
    let items = |found: Option<Found<Vec<Found<String>>>>| -> Vec<String> {
        found.map(|found| found.value.into_iter().map(|item| item.value).collect()).unwrap_or_default()
    };
    let algorithms = items(algorithms);
    let span = issuer.span.clone();
    let value = Issuer {
        issuer: issuer.value,
        source,
        audience: audience?,
        algorithms: if algorithms.is_empty() { vec!["RS256".to_owned()] } else { algorithms },
        typ: typ.map(|found| found.value),
        scope_claim: scope_claim.map_or_else(|| "scope".to_owned(), |found| found.value),
        default_scopes: items(default_scopes),
        tenant_claim: tenant_claim.map(|found| found.value),
        refresh,
        cooldown,
    };
    Some(Found { value, span })
}

/// A file with a JWK Set; which of its keys count, whoever verifies tokens says.
fn jwks_file(path: PathBuf) -> Result<PathBuf, Wrong> {
    const MOST: u64 = 256 * 1024;
    let name = path.display();
    let what = match read_bounded(&path, MOST) {
        Ok(bytes) => match serde_json::from_slice::<serde_json::Value>(&bytes) {
            Ok(set) if set.get("keys").is_some_and(serde_json::Value::is_array) => return Ok(path),
            Ok(_) | Err(_) => format!("{name} is no JWK Set"),
        },
        Err(Unreadable::Missing) => format!("there is no file {name}"),
        Err(Unreadable::TooLarge) => format!("{name} is larger than 256 KiB"),
        Err(Unreadable::Other(error)) => format!("{name} can't be read: {error}"),
    };
    Err(Wrong::Other(what, "It holds the provider's keys as JSON: {\"keys\": [...]}.".to_owned()))
}

/// One audience or several.
fn audience(section: &mut Section<'_, '_>) -> Option<Vec<String>> {
    let form = Form { what: "a name or a list of names", example: "\"masque\"" };
    let found = section.read("audience", form, |value| match value.get_ref() {
        DeValue::String(text) if !text.is_empty() => Ok(vec![text.to_string()]),
        DeValue::Array(items) if !items.is_empty() => items
            .iter()
            .map(|item| item.get_ref().as_str().filter(|text| !text.is_empty()).map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .ok_or(Wrong::Type),
        _ => Err(Wrong::Type),
    });
    section.require("audience", form);
    found.map(|found| found.value)
}

/// A URL that keys may be fetched from: whoever could change them on the way could make tokens.
fn fetched(text: &str) -> Result<String, Wrong> {
    let scheme_and_rest = text.split_once("://");
    let Some((scheme, rest)) = scheme_and_rest else { return Err(Wrong::Form) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') || text.contains(char::is_whitespace) {
        return Err(Wrong::Form);
    }
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match scheme {
        "https" => Ok(text.to_owned()),
        "http" if loopback => Ok(text.to_owned()),
        "http" => Err(Wrong::Other(
            "keys are not fetched over plain http, except from this machine".to_owned(),
            "Use https.".to_owned(),
        )),
        _ => Err(Wrong::Form),
    }
}
