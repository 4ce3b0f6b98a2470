//! `[credentials.NAME]`: a secret header for one origin. The value comes from the environment or from a file, and from
//! here on only the runtime's gate ever looks at it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use masque_runtime::{Credential, Secret};

use super::document::{Unreadable, read_bounded};
use super::environment::Environment;
use super::grants;
use super::section::Section;
use super::types::Name;
use super::values::{Form, Wrong};

const ORIGIN: Form = Form { what: "an origin", example: "\"https://api.openai.com\"" };
const HEADER: Form = Form { what: "a header's name", example: "\"authorization\"" };
const EXAMPLE_HEADER: &str = "Write for example `header = \"authorization\"`.";
const VALUE: Form = Form { what: "a string", example: "\"Bearer ${OPENAI_API_KEY}\"" };
const VALUE_FILE: Form = Form { what: "a path", example: "\"/run/secrets/openai\"" };

/// Longer than any header that a server accepts.
const MAX_VALUE_BYTES: u64 = 16 * 1024;

/// `None` stands for one that is there, but wrong, which has been reported.
pub(super) fn read(
    sections: BTreeMap<Name, Section<'_, '_>>,
    environment: &Environment,
    folder: &Path,
) -> BTreeMap<Name, Option<Arc<Credential>>> {
    sections
        .into_iter()
        .map(|(name, section)| {
            let credential = one(&name, section, environment, folder);
            (name, credential.map(Arc::new))
        })
        .collect()
}

/// The runtime judges the three together and stops at the first that is wrong; each is tried beside two that are right,
/// so that all mistakes are told, each at its own key.
fn one(
    name: &Name,
    mut section: Section<'_, '_>,
    environment: &Environment,
    folder: &Path,
) -> Option<Credential> {
    let try_with = |origin: &str, header: &str, value: &str| {
        Credential::new(name.to_string(), origin, header, &Secret::from(value.to_owned()))
    };
    let origin = section.read("origin", ORIGIN, |given| {
        let text = given.get_ref().as_str().ok_or(Wrong::Type)?;
        grants::no_password(text)?;
        try_with(text, "authorization", "x").map_err(|error| grants::wrong(&error)).map(|_| text.to_owned())
    });
    section.require("origin", ORIGIN);
    let header = section.read("header", HEADER, |given| {
        let text = given.get_ref().as_str().ok_or(Wrong::Type)?;
        // Not quoted: who mixes up the two lines has written the secret here.
        let wrong = || Wrong::Other("this is no header's name".to_owned(), EXAMPLE_HEADER.to_owned());
        try_with("https://localhost", text, "x").map_err(|_| wrong()).map(|_| text.to_owned())
    });
    section.require("header", HEADER);
    let carried = |text: String| match try_with("https://localhost", "authorization", &text) {
        Ok(_) => Ok(text),
        Err(_) => Err(Wrong::Other(
            "the value is empty or holds a character that a header can't carry".to_owned(),
            "Check what it is made of; a line break in the middle is the usual cause.".to_owned(),
        )),
    };
    let value = section.read("value", VALUE, |given| {
        expand(given.get_ref().as_str().ok_or(Wrong::Type)?, environment).and_then(carried)
    });
    let report = section.report;
    let from_file = section.read("value_file", VALUE_FILE, |given| {
        let name = given.get_ref().as_str().ok_or(Wrong::Type)?;
        let path = folder.join(name);
        report.read_file(&path);
        from_file(name, &path).and_then(carried)
    });
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
    try_with(&origin?.value, &header?.value, &value.or(from_file)?.value).ok()
}

/// `${NAME}` is the variable's value and `$$` a dollar sign; nothing that is read from a variable is expanded again.
fn expand(text: &str, environment: &Environment) -> Result<String, Wrong> {
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
            return Err(Wrong::Other(
                "a `$` begins a variable such as `${OPENAI_API_KEY}`".to_owned(),
                "Write `$$` for a dollar sign.".to_owned(),
            ));
        };
        let Some(value) = environment.get(name) else {
            return Err(Wrong::Other(
                format!("the environment variable {} is not set", name.escape_debug()),
                "Set it where the host is started, or use `value_file`.".to_owned(),
            ));
        };
        expanded.push_str(value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn from_file(name: &str, path: &Path) -> Result<String, Wrong> {
    let wrong = |what: String, remedy: &str| Err(Wrong::Other(what, remedy.to_owned()));
    match read_bounded(path, MAX_VALUE_BYTES).map(String::from_utf8) {
        // Editors and `echo` end a file with a line break.
        Ok(Ok(text)) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Ok(Err(_)) => {
            wrong(format!("{name} is not UTF-8"), "The file holds the header's whole value as text.")
        }
        Err(Unreadable::Missing) => wrong(
            format!("there is no file {name}"),
            "Name a file that exists; a relative path starts at the configuration file's folder.",
        ),
        Err(Unreadable::TooLarge) => wrong(format!("{name} is larger than 16 KiB"), "Is this another file?"),
        Err(Unreadable::Other(error)) => {
            wrong(format!("{name} can't be read: {error}"), "Make it a file that the host's user may read.")
        }
    }
}
