//! The keys that sign the host's own tokens: from `JWT_SECRET_KEY`, or from a file that `JWT_SECRET_KEY_FILE` or
//! `secret_file` in `[auth]` names.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::diagnostic::{Diagnostic, Location};
use crate::environment::{Environment, SECRET, SECRET_FILE};
use crate::file::{ReadError, read_trusted};
use crate::report::Report;
use crate::secret_text::{quotes_of, trimmed};
use crate::section::Located;
use crate::signing_key::{SigningKey, parse_keys};

/// The keys that sign the host's own tokens: the first signs, all verify. `Debug` and `Serialize` leave out the keys.
#[derive(Clone, Serialize)]
pub struct SigningKeys {
    /// Never empty.
    #[serde(skip)]
    pub keys: Vec<SigningKey>,
    /// The file that they were read from, which is read again when it changes.
    pub file: Option<PathBuf>,
    /// Where the configuration names them.
    #[serde(skip)]
    pub location: Location,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Reads the keys. `secret_file` is the file that the configuration file names; a path in a variable starts at `folder`.
pub(crate) fn read(
    environment: &Environment,
    folder: &Path,
    secret_file: Option<Located<PathBuf>>,
    report: &Report<'_>,
) -> Option<SigningKeys> {
    let text = environment.get(SECRET).map(|text| (text, Location::Variable(SECRET.to_owned())));
    let by_variable = environment
        .get(SECRET_FILE)
        .map(|path| (folder.join(path), Location::Variable(SECRET_FILE.to_owned())));
    let file = by_variable.or(secret_file.map(|found| (found.value, report.location(&found.span))));
    if let (Some((_, location)), Some(_)) = (&file, &text) {
        report.error(
            location.clone(),
            format!("the secret is given twice, in {SECRET} and in a file"),
            "Keep one of the two.",
        );
    }
    if let Some((text, location)) = text {
        return match from_variable(text) {
            Ok(key) => {
                warn_of_quotes(std::slice::from_ref(&key), &location, report);
                Some(SigningKeys { keys: vec![key], file: None, location })
            }
            Err(what) => {
                report.error(location, what, "Make one with `openssl rand -base64 32`.");
                None
            }
        };
    }
    let (path, location) = file?;
    match read_signing_keys(&path) {
        Ok(keys) => {
            warn_of_quotes(&keys, &location, report);
            Some(SigningKeys { keys, file: Some(path), location })
        }
        Err(what) => {
            report.error(
                location,
                what,
                "The file holds one secret, or a JWK Set of keys with `kty` \"oct\" that the host's user may read.",
            );
            None
        }
    }
}

/// The key in `JWT_SECRET_KEY`, read as one in a file is.
fn from_variable(text: &str) -> Result<SigningKey, &'static str> {
    match trimmed(text) {
        "" => Err("the secret is nothing but white space"),
        // What is not UTF-8 has been replaced, so the key would be another one than the operator believes.
        text if text.contains(char::REPLACEMENT_CHARACTER) => Err("the secret is not UTF-8"),
        text => Ok(SigningKey::from_text(text)),
    }
}

fn warn_of_quotes(keys: &[SigningKey], location: &Location, report: &Report<'_>) {
    if let Some((what, remedy)) = keys.iter().find_map(|key| quotes_of(key.plain_text()?)) {
        report.add(Diagnostic::warning(location.clone(), what, remedy));
    }
}

/// Reads the keys from a file.
///
/// # Errors
/// What is wrong with the file, for the operator. The text never quotes the file.
pub fn read_signing_keys(path: &Path) -> Result<Vec<SigningKey>, String> {
    const MAX_BYTES: u64 = 64 * 1024;
    let bytes = read_trusted(path, MAX_BYTES).map_err(|error| match error {
        ReadError::Missing => format!("there is no file {}", path.display()),
        ReadError::TooLarge => format!("{} is larger than 64 KiB", path.display()),
        ReadError::Other(error) => format!("{} can't be read: {error}", path.display()),
    })?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", path.display()))?;
    parse_keys(&text).map_err(|what| format!("{}: {what}", path.display()))
}
