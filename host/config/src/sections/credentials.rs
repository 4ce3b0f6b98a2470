//! `[credentials.NAME]`: a secret header for one origin. The value comes from environment variables or from a file. After
//! that, only the code that sends and redacts it reads it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use masque_grants::{Credential, GrantError, Name, Secret};

use super::grants;
use crate::diagnostic::{Diagnostic, Location};
use crate::environment::Environment;
use crate::file::{ReadError, read_trusted};
use crate::report::Report;
use crate::secret_text::{quotes_of, trimmed};
use crate::section::Section;
use crate::value::{self, Expected, InvalidValue};

const ORIGIN: Expected = Expected { what: "an origin", example: "\"https://api.openai.com\"" };
const HEADER: Expected = Expected { what: "a header's name", example: "\"authorization\"" };
const EXAMPLE_HEADER: &str = "Write for example `header = \"authorization\"`.";
const VALUE: Expected = Expected { what: "a string", example: "\"Bearer ${OPENAI_API_KEY}\"" };
const VALUE_FILE: Expected = Expected { what: "a path", example: "\"/run/secrets/openai\"" };

/// More than servers accept in a header.
const MAX_VALUE_BYTES: u64 = 16 * 1024;

/// The credentials by name. `None` stands for a credential with a mistake, which was reported.
pub(crate) fn read(
    sections: BTreeMap<Name, Section<'_, '_>>,
    environment: &Environment,
    base: &Path,
) -> BTreeMap<Name, Option<Arc<Credential>>> {
    sections
        .into_iter()
        .map(|(name, section)| {
            let credential = read_one(&name, section, environment, base);
            (name, credential.map(Arc::new))
        })
        .collect()
}

/// [`Credential::new`] stops at the first mistake. Each value is therefore checked with two valid ones, so that all
/// mistakes are reported, each at its own key.
fn read_one(
    name: &Name,
    mut section: Section<'_, '_>,
    environment: &Environment,
    base: &Path,
) -> Option<Credential> {
    let try_with = |origin: &str, header: &str, value: &str| {
        Credential::new(name.to_string(), origin, header, &Secret::from(value.to_owned()))
    };
    let origin = section.read("origin", ORIGIN, |given| {
        let text = value::text(given)?;
        grants::refuse_password(text)?;
        try_with(text, "authorization", "x").map_err(|error| grants::invalid(&error)).map(|_| text.to_owned())
    });
    section.require("origin", ORIGIN);
    let header = section.read("header", HEADER, |given| {
        let text = value::text(given)?;
        try_with("https://localhost", text, "x").map(|_| text.to_owned()).map_err(|error| match error {
            GrantError::ReservedHeader(_) => grants::invalid(&error),
            // The text is not quoted: an operator who swaps `header` and `value` has written the secret here.
            _ => InvalidValue::Other("this is no header's name".to_owned(), EXAMPLE_HEADER.to_owned()),
        })
    });
    section.require("header", HEADER);
    let checked = |text: String| match try_with("https://localhost", "authorization", &text) {
        Ok(_) => Ok(text),
        Err(_) => Err(InvalidValue::Other(
            "the value is empty or holds a character that a header can't carry".to_owned(),
            "Check what it is made of; a line break in the middle is the usual cause.".to_owned(),
        )),
    };
    let report = section.report;
    let mut variables = Vec::new();
    let value = section.read("value", VALUE, |given| {
        expand(value::text(given)?, environment, report, &mut variables).and_then(checked)
    });
    let from_file = section.read("value_file", VALUE_FILE, |given| {
        let name = value::text(given)?;
        let path = base.join(name);
        report.record_file(&path);
        from_file(name, &path).and_then(checked)
    });
    if let Some((found, (what, remedy))) =
        from_file.as_ref().and_then(|found| Some((found, quotes_of(&found.value)?)))
    {
        report.add(Diagnostic::warning(report.location(&found.span), what, remedy));
    }
    match (section.has("value"), section.has("value_file")) {
        (false, false) => section.require("value", VALUE),
        (true, true) => section.refuse_key(
            "value_file",
            "the value is given twice, by `value` and by `value_file`",
            "Keep one of the two.",
        ),
        _ => {}
    }
    section.finish();
    let credential = try_with(&origin?.value, &header?.value, &value.or(from_file)?.value).ok()?;
    Some(credential.with_known_secrets(&variables))
}

/// Replaces `${NAME}` with the value of the variable, without the white space around it, and `$$` with a dollar sign.
/// Values of variables are not expanded again; they are added to `variables`.
fn expand(
    text: &str,
    environment: &Environment,
    report: &Report<'_>,
    variables: &mut Vec<Secret>,
) -> Result<String, InvalidValue> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let variable = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let Some((name, after)) = variable.filter(|(name, _)| !name.is_empty()) else {
            return Err(InvalidValue::Other(
                "a `$` begins a variable such as `${OPENAI_API_KEY}`".to_owned(),
                "Write `$$` for a dollar sign.".to_owned(),
            ));
        };
        let refused = |how: &str| {
            let what = format!("the environment variable {} {how}", name.escape_debug());
            let remedy = "Set it where the host is started, or use `value_file`.";
            Err(InvalidValue::Other(what, remedy.to_owned()))
        };
        let value = match environment.get(name).map(trimmed) {
            None => return refused("is not set"),
            Some("") => return refused("is nothing but white space"),
            Some(value) => value,
        };
        if let Some((what, remedy)) = quotes_of(value) {
            report.add(Diagnostic::warning(Location::Variable(name.to_owned()), what, remedy));
        }
        expanded.push_str(value);
        variables.push(Secret::from(value.to_owned()));
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn from_file(name: &str, path: &Path) -> Result<String, InvalidValue> {
    let refused = |what: String, remedy: &str| Err(InvalidValue::Other(what, remedy.to_owned()));
    match read_trusted(path, MAX_VALUE_BYTES).map(String::from_utf8) {
        // Editors and `echo` end a file with a line break. A header can't carry white space at its ends.
        Ok(Ok(text)) => Ok(trimmed(&text).to_owned()),
        Ok(Err(_)) => {
            refused(format!("{name} is not UTF-8"), "The file holds the header's whole value as text.")
        }
        Err(ReadError::Missing) => refused(
            format!("there is no file {name}"),
            "Name a file that exists; a relative path starts at the configuration file's folder.",
        ),
        Err(ReadError::TooLarge) => refused(format!("{name} is larger than 16 KiB"), "Is this another file?"),
        Err(ReadError::Other(error)) => {
            refused(format!("{name} can't be read: {error}"), "Make it a file that the host's user may read.")
        }
    }
}
