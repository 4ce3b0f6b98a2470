//! `[auth.issuers.NAME]`: identity providers.
//!
//! Threat: whoever can change the keys on their way can make tokens. Policy: keys are fetched over https, or from this
//! machine, unless the operator allows http for an issuer; algorithms with a shared secret are refused.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use masque_grants::{GrantError, Name, Origin};
use serde::Serialize;
use toml::de::DeValue;

use crate::file::{ReadError, read_trusted};
use crate::section::{Located, Section, items};
use crate::units::{DAY, HOUR, MILLISECOND, MINUTE, SECOND};
use crate::value::{self, Expected, InvalidValue};

/// An identity provider.
#[derive(Clone, Debug, Serialize)]
pub struct Issuer {
    /// The exact `iss` of its tokens.
    pub issuer: String,
    /// Where its keys are.
    pub source: JwkSource,
    /// Whether its keys may be fetched over plain http from other machines.
    pub allow_http: bool,
    /// The accepted audiences; the audience of a token has at least one of them.
    pub audience: Vec<String>,
    /// The claim that holds the audience, or the path to it.
    pub audience_claim: String,
    /// The accepted algorithms by their names in RFC 7518. Never empty.
    pub algorithms: Vec<String>,
    /// The only accepted `typ`. `None`: any.
    pub typ: Option<String>,
    /// The claim that holds the scopes, or the path to it.
    pub scope_claim: String,
    /// Scopes that each token has in addition to those in its claim.
    pub default_scopes: Vec<String>,
    /// The claim that holds the tenant, or the path to it.
    pub tenant_claim: Option<String>,
    /// How often the keys are read again.
    pub refresh: Duration,
    /// The shortest time between two readings caused by unknown keys.
    pub cooldown: Duration,
}

/// Where the keys of an identity provider are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JwkSource {
    /// A file with a JWK Set.
    File(PathBuf),
    /// The URL of a JWK Set.
    Url(String),
    /// The URL that the metadata of the issuer names (OpenID Connect Discovery 1.0, section 4).
    Discovery,
}

/// The algorithms with a key pair of RFC 7518, section 3.1, RFC 8037 and RFC 9864. Those with a shared secret are not
/// accepted: whoever can verify with such a secret can also sign.
const ALGORITHMS: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "Ed25519"];
const DEFAULT_ALGORITHM: &str = "RS256";
const DEFAULT_SCOPE_CLAIM: &str = "scope";
const DEFAULT_AUDIENCE_CLAIM: &str = "aud";

const ISSUER: Expected =
    Expected { what: "the exact `iss` of its tokens", example: "\"https://id.example.com/\"" };
const URL: Expected = Expected { what: "an https URL", example: "\"https://id.example.com/keys\"" };
const NO_DISCOVERY: &str = "the keys can't be looked for where `issuer` is no https URL";

/// Reads the sections; `own` is the issuer of the host's own tokens.
pub(crate) fn read(
    sections: BTreeMap<Name, Section<'_, '_>>,
    own: &str,
    base: &Path,
) -> BTreeMap<Name, Issuer> {
    // A token finds its keys by its `iss`, so each issuer must be unique.
    let mut taken = vec![own.to_owned()];
    let mut issuers: BTreeMap<Name, Issuer> = BTreeMap::new();
    for (name, section) in sections {
        let report = section.report;
        let Some(Located { value: issuer, span }) = read_one(section, base) else { continue };
        if taken.contains(&issuer.issuer) {
            let what = format!("`{}` is the issuer of two", issuer.issuer.escape_debug());
            report.error_at(&span, what, "Name each issuer once; this host's own is `issuer` in [auth].");
        }
        taken.push(issuer.issuer.clone());
        issuers.insert(name, issuer);
    }
    issuers
}

/// Reads only the exact `iss` of each identity provider.
pub(crate) fn read_names(sections: BTreeMap<Name, Section<'_, '_>>) -> Vec<String> {
    let names = sections.into_values().filter_map(|mut section| read_name(&mut section));
    names.map(|found| found.value).collect()
}

fn read_name(section: &mut Section<'_, '_>) -> Option<Located<String>> {
    let issuer = section.read("issuer", ISSUER, |value| value::non_empty(value).map(str::to_owned));
    section.require("issuer", ISSUER);
    issuer
}

fn read_one(mut section: Section<'_, '_>, base: &Path) -> Option<Located<Issuer>> {
    let report = section.report;
    let text = |value: &DeValue<'_>| value::non_empty(value).map(str::to_owned);
    let issuer = read_name(&mut section);
    let allow_http = section.flag("allow_http", false);
    let audience = audience(&mut section);
    let file = section.read("jwks_file", Expected { what: "a path", example: "\"keys.json\"" }, |value| {
        value::path(value, base).and_then(jwks_file)
    });
    let url = section.read("jwks_url", URL, |value| {
        let url = value::non_empty(value)?;
        check_key_url(url, allow_http).map(|()| url.to_owned()).map_err(InvalidValue::from)
    });
    if section.has("jwks_file") && section.has("jwks_url") {
        section.refuse_key(
            "jwks_url",
            "the keys are named twice, by `jwks_file` and by `jwks_url`",
            "Keep one of the two.",
        );
    }
    let algorithms = algorithms(&mut section);
    let typ = section.read("typ", Expected { what: "a type of token", example: "\"at+jwt\"" }, text);
    let claim = Expected { what: "a claim", example: "\"scope\"" };
    let scope_claim = section.read("scope_claim", claim, text);
    section.defaults("scope_claim", || DEFAULT_SCOPE_CLAIM.to_owned());
    let audience_claim =
        section.read("audience_claim", Expected { what: "a claim", example: "\"client_id\"" }, text);
    section.defaults("audience_claim", || DEFAULT_AUDIENCE_CLAIM.to_owned());
    let tenant_claim = section.read("tenant_claim", claim, text);
    let default_scopes = default_scopes(&mut section);
    let refresh = section.duration("refresh", 15 * MINUTE, SECOND..=DAY);
    let cooldown = section.duration("cooldown", 10 * SECOND, 10 * MILLISECOND..=HOUR);
    section.finish();

    let issuer = issuer?;
    let source = match (file, url) {
        (Some(file), _) => JwkSource::File(file.value),
        (None, Some(url)) => JwkSource::Url(url.value),
        (None, None) => match check_key_url(&issuer.value, allow_http) {
            Ok(()) => JwkSource::Discovery,
            Err(mistake) => {
                let (what, remedy) = match mistake {
                    UrlMistake::Form => (NO_DISCOVERY, "Add `jwks_url` or `jwks_file`."),
                    UrlMistake::PlainHttp => (
                        NO_DISCOVERY,
                        "Add `jwks_url` or `jwks_file`, or `allow_http = true` inside of a network that you trust.",
                    ),
                    UrlMistake::Port => (
                        "the keys can't be looked for where the port in `issuer` is no number from 1 to 65535",
                        "Correct the port, or add `jwks_url` or `jwks_file`.",
                    ),
                };
                report.error_at(&issuer.span, what, remedy);
                return None;
            }
        },
    };
    let span = issuer.span.clone();
    let value = Issuer {
        issuer: issuer.value,
        source,
        allow_http,
        audience: audience?,
        audience_claim: audience_claim.map_or_else(|| DEFAULT_AUDIENCE_CLAIM.to_owned(), |found| found.value),
        algorithms,
        typ: typ.map(|found| found.value),
        scope_claim: scope_claim.map_or_else(|| DEFAULT_SCOPE_CLAIM.to_owned(), |found| found.value),
        default_scopes,
        tenant_claim: tenant_claim.map(|found| found.value),
        refresh,
        cooldown,
    };
    Some(Located { value, span })
}

/// One audience or several.
fn audience(section: &mut Section<'_, '_>) -> Option<Vec<String>> {
    let expected = Expected { what: "a name or a list of names", example: "\"masque\"" };
    let found = section.read("audience", expected, |value| match value {
        DeValue::String(text) if !text.is_empty() => Ok(vec![text.to_string()]),
        DeValue::Array(items) if !items.is_empty() => items
            .iter()
            .map(|item| item.get_ref().as_str().filter(|text| !text.is_empty()).map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .ok_or(InvalidValue::Type),
        _ => Err(InvalidValue::Type),
    });
    section.require("audience", expected);
    found.map(|found| found.value)
}

/// The accepted algorithms, or the default if the list is absent, empty or invalid.
fn algorithms(section: &mut Section<'_, '_>) -> Vec<String> {
    let expected = Expected { what: "a list of algorithms", example: "[\"RS256\"]" };
    let algorithms = section.list("algorithms", expected, |text| match ALGORITHMS.contains(&text) {
        true => Ok(text.to_owned()),
        false if text.starts_with("HS") => Err(InvalidValue::Other(
            format!("`{}` has a secret that whoever verifies could sign with", text.escape_debug()),
            "Use the keys of a pair, such as RS256; for a shared secret see `secret_file` in [auth]."
                .to_owned(),
        )),
        false => Err(InvalidValue::Other(
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
    section.defaults("algorithms", || format!("[\"{DEFAULT_ALGORITHM}\"]"));
    let algorithms = items(algorithms);
    if algorithms.is_empty() { vec![DEFAULT_ALGORITHM.to_owned()] } else { algorithms }
}

fn default_scopes(section: &mut Section<'_, '_>) -> Vec<String> {
    let expected = Expected { what: "a list of scopes", example: "[\"chat\"]" };
    items(section.list("default_scopes", expected, |text| match text {
        "chat" | "admin:read" | "admin:write" => Ok(text.to_owned()),
        _ => Err(InvalidValue::Other(
            format!("`{}` is no scope that a token can have", text.escape_debug()),
            "Tokens have `chat`, `admin:read` and `admin:write`.".to_owned(),
        )),
    }))
}

/// Checks that the file is a JWK Set that no other user may write: whoever may can make tokens for every user. Which of its keys can be used is decided where tokens are verified.
fn jwks_file(path: PathBuf) -> Result<PathBuf, InvalidValue> {
    const MAX_BYTES: u64 = 256 * 1024;
    let name = path.display();
    let what = match read_trusted(&path, MAX_BYTES) {
        Ok(bytes) => match serde_json::from_slice::<serde_json::Value>(without_mark(&bytes)) {
            Ok(set) if set.get("keys").is_some_and(serde_json::Value::is_array) => return Ok(path),
            Ok(_) | Err(_) => format!("{name} is no JWK Set"),
        },
        Err(ReadError::Missing) => format!("there is no file {name}"),
        Err(ReadError::TooLarge) => format!("{name} is larger than 256 KiB"),
        Err(ReadError::Other(error)) => format!("{name} can't be read: {error}"),
    };
    Err(InvalidValue::Other(what, "It holds the provider's keys as JSON: {\"keys\": [...]}.".to_owned()))
}

/// Some editors put a byte order mark in front.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// What keeps keys from being fetched from a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UrlMistake {
    /// It is no URL of https or http, or it names a user.
    Form,
    /// Its port is no number from 1 to 65535.
    Port,
    /// It is a URL of plain http that leaves this machine.
    PlainHttp,
}

impl From<UrlMistake> for InvalidValue {
    fn from(mistake: UrlMistake) -> Self {
        match mistake {
            UrlMistake::Form => Self::Form,
            UrlMistake::Port => Self::Other(
                "the port of the URL is no number from 1 to 65535".to_owned(),
                format!("Write for example `jwks_url = {}`.", URL.example),
            ),
            UrlMistake::PlainHttp => Self::Other(
                "keys are not fetched over plain http, except from this machine".to_owned(),
                "Use https, or add `allow_http = true` inside of a network that you trust.".to_owned(),
            ),
        }
    }
}

fn check_key_url(text: &str, allow_http: bool) -> Result<(), UrlMistake> {
    let (scheme, rest) = text.split_once("://").ok_or(UrlMistake::Form)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') || text.contains(char::is_whitespace) {
        return Err(UrlMistake::Form);
    }
    let origin: Origin = format!("{scheme}://{authority}").parse().map_err(|error| match error {
        GrantError::Port(_) => UrlMistake::Port,
        _ => UrlMistake::Form,
    })?;
    let is_loopback = origin.host().parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match scheme {
        "https" => Ok(()),
        "http" if is_loopback || allow_http => Ok(()),
        "http" => Err(UrlMistake::PlainHttp),
        _ => Err(UrlMistake::Form),
    }
}
