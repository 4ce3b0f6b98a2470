//! `[auth]`: whether callers must authenticate, the secret of the host's own tokens, and the identity providers. Whether
//! this is safe enough for production is decided in `production`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use masque_grants::Name;
use serde::Serialize;

use super::issuers::{self, Issuer};
use super::signing_keys::{self, SigningKeys};
use crate::diagnostic::Location;
use crate::environment::{self, Environment, REQUIRE_AUTHENTICATION, Stage};
use crate::section::{Located, Section};
use crate::units::{DAY, HOUR, MINUTE, SECOND};
use crate::value::{self, Expected, InvalidValue};

/// How callers authenticate.
#[derive(Clone, Debug, Serialize)]
pub struct Auth {
    /// Whether callers must authenticate.
    pub required: bool,
    /// Where the operator turned authentication off explicitly.
    #[serde(skip)]
    pub disabled_at: Option<Location>,
    /// `iss` of the host's own tokens.
    pub issuer: String,
    /// `aud` of the host's own tokens.
    pub audience: String,
    /// The tolerated difference between two clocks.
    pub leeway: Duration,
    /// The lifetime of a token whose maker asks for none.
    pub token_lifetime: Duration,
    /// The longest lifetime that can be asked for.
    pub max_token_lifetime: Duration,
    /// The keys that sign the host's own tokens. `None`: the host makes no tokens.
    pub secret: Option<SigningKeys>,
    /// The identity providers whose tokens are accepted.
    pub issuers: BTreeMap<Name, Issuer>,
}

const DEFAULT_NAME: &str = "masque";

/// Revocations are kept this long; a token with a longer lifetime could be used again after its revocation was removed.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Reads the section. Relative paths of the file start at `base`, those of variables at `folder`.
pub(crate) fn read(
    mut section: Section<'_, '_>,
    environment: &Environment,
    stage: Stage,
    base: &Path,
    folder: &Path,
) -> Auth {
    let report = section.report;
    let expected = Expected { what: "true or false", example: "true" };
    let required = section.read("required", expected, value::flag);
    let issuer = own_name(&mut section, "issuer");
    let audience = own_name(&mut section, "audience");
    let leeway = section.duration("leeway", 30 * SECOND, Duration::ZERO..=5 * MINUTE);
    let token_lifetime = section.duration("token_lifetime", HOUR, SECOND..=MAX_LIFETIME);
    let max_token_lifetime = section.duration("max_token_lifetime", DAY, SECOND..=MAX_LIFETIME);
    let secret_file = section.path("secret_file", "\"/run/secrets/jwt\"", base);
    let secret = signing_keys::read(environment, folder, secret_file, report);
    let issuers = issuers::read(section.named("issuers"), &issuer, base);
    section.finish();

    let location = |found: &Located<bool>| report.location(&found.span);
    let chosen = match environment::boolean(environment, REQUIRE_AUTHENTICATION, report) {
        Some(choice) => Some((choice, Location::Variable(REQUIRE_AUTHENTICATION.to_owned()))),
        None => required.as_ref().map(|found| (found.value, location(found))),
    };
    let has_keys = secret.is_some() || !issuers.is_empty();
    Auth {
        required: chosen.as_ref().map_or(has_keys || stage.is_strict(), |(choice, _)| *choice),
        disabled_at: chosen.filter(|(choice, _)| !choice).map(|(_, location)| location),
        issuer,
        audience,
        leeway,
        token_lifetime: token_lifetime.min(max_token_lifetime),
        max_token_lifetime,
        secret,
        issuers,
    }
}

/// Reads only the names of issuers: `iss` of the host's own tokens, and those of the identity providers.
pub(crate) fn read_issuer_names(mut section: Section<'_, '_>) -> (String, Vec<String>) {
    let own = own_name(&mut section, "issuer");
    let providers = issuers::read_names(section.named("issuers"));
    section.finish_part(&[]);
    (own, providers)
}

/// `issuer` or `audience` of the host's own tokens. `local` and `api-key` are the issuers of callers without a token.
fn own_name(section: &mut Section<'_, '_>, key: &'static str) -> String {
    let expected = Expected { what: "a name", example: "\"masque\"" };
    let found = section.read(key, expected, |value| match value::text(value)? {
        "" | "local" | "api-key" => Err(InvalidValue::Form),
        text => Ok(text.to_owned()),
    });
    section.defaults(key, || DEFAULT_NAME.to_owned());
    found.map_or_else(|| DEFAULT_NAME.to_owned(), |found| found.value)
}
