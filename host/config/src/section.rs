//! One table of the file while it is read. It records which keys were read, so that the remaining keys are reported as
//! unknown, and so that a test can compare the reference with what is read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use masque_grants::Name;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

#[cfg(test)]
use crate::report::KnownKey;
use crate::report::Report;
use crate::value::{self, Expected, InvalidValue};
use crate::wording::{list, nearest, sentence};

type Key<'d> = Spanned<Cow<'d, str>>;

/// A value and where it is in the file.
#[derive(Clone, Debug)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// The values of a list without their spans.
pub(crate) fn items<T>(list: Option<Located<Vec<Located<T>>>>) -> Vec<T> {
    list.map(|list| list.value.into_iter().map(|item| item.value).collect()).unwrap_or_default()
}

/// A table. One that is absent reads like an empty table.
#[derive(Debug)]
pub(crate) struct Section<'r, 'd> {
    pub(crate) report: &'r Report<'d>,
    table: Option<&'r DeTable<'d>>,
    /// The path in the header of the table; empty for the file itself.
    path: String,
    /// The path with `NAME` for each name that the operator chose.
    #[cfg(test)]
    kind: String,
    span: Range<usize>,
    known: Vec<&'static str>,
}

impl<'r, 'd> Section<'r, 'd> {
    /// The whole file.
    pub(crate) fn root(report: &'r Report<'d>, table: &'r DeTable<'d>) -> Self {
        Self {
            report,
            table: Some(table),
            path: String::new(),
            #[cfg(test)]
            kind: String::new(),
            span: 0..0,
            known: Vec::new(),
        }
    }

    /// The table under `key`.
    pub(crate) fn table(&mut self, key: &'static str) -> Section<'r, 'd> {
        let found =
            self.entry(key).and_then(|(name, value)| Some((name.span(), self.as_table(name, value)?)));
        let (span, table) = match found {
            Some((span, table)) => (span, Some(table)),
            None => (self.span.clone(), None),
        };
        Section {
            report: self.report,
            table,
            path: self.path_of(key),
            #[cfg(test)]
            kind: join(&self.kind, key),
            span,
            known: Vec::new(),
        }
    }

    /// The tables under `key`, by the names that the operator chose.
    pub(crate) fn named(&mut self, key: &'static str) -> BTreeMap<Name, Section<'r, 'd>> {
        let tables = self.table(key);
        let entries = tables.table.into_iter().flatten();
        entries
            .filter_map(|(key, value)| {
                let name = key.get_ref();
                let parsed = name.parse::<Name>().map_err(|error| {
                    let what = format!("`{name}` can't be a name in [{}]", tables.path);
                    self.report.error_at(&key.span(), what, sentence(&error.to_string()));
                });
                let section = Section {
                    report: self.report,
                    table: Some(tables.as_table(key, value)?),
                    path: tables.path_of(name),
                    #[cfg(test)]
                    kind: join(&tables.kind, "NAME"),
                    span: key.span(),
                    known: Vec::new(),
                };
                Some((parsed.ok()?, section))
            })
            .collect()
    }

    /// The value under `key` as `parse` returns it. A value that `parse` refuses is reported with its location and with
    /// what is expected.
    pub(crate) fn read<T>(
        &mut self,
        key: &'static str,
        expected: Expected,
        parse: impl FnOnce(&'r DeValue<'d>) -> Result<T, InvalidValue>,
    ) -> Option<Located<T>> {
        let (_, value) = self.entry(key)?;
        match parse(value.get_ref()) {
            Ok(parsed) => Some(Located { value: parsed, span: value.span() }),
            Err(invalid) => {
                self.refuse(key, &value.span(), value.get_ref(), expected, invalid);
                None
            }
        }
    }

    /// A list of strings. Its items are parsed one by one, so that every invalid one is reported.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        expected: Expected,
        parse: impl Fn(&str) -> Result<T, InvalidValue>,
    ) -> Option<Located<Vec<Located<T>>>> {
        let (_, value) = self.entry(key)?;
        let Some(items) = value.get_ref().as_array() else {
            self.refuse(key, &value.span(), value.get_ref(), expected, InvalidValue::Type);
            return None;
        };
        let parsed = items.iter().filter_map(|item| match value::text(item.get_ref()).and_then(&parse) {
            Ok(value) => Some(Located { value, span: item.span() }),
            Err(invalid) => {
                self.refuse_item(key, item, expected, invalid);
                None
            }
        });
        Some(Located { value: parsed.collect(), span: value.span() })
    }

    /// Reports the key if it is absent.
    pub(crate) fn require(&self, key: &str, expected: Expected) {
        self.require_unless(key, expected, "");
    }

    /// Reports the key if it is absent; `alternative` is the end of the sentence that says what to do.
    pub(crate) fn require_unless(&self, key: &str, expected: Expected, alternative: &str) {
        if self.peek(key).is_none() && !self.report.has_broken_lines() {
            let what = format!("[{}] has no `{key}`", self.path);
            let remedy = format!("Add for example `{key} = {}`{alternative}.", expected.example);
            self.report.error_at(&self.span, what, remedy);
        }
    }

    /// Reports a mistake about the value of a key that is present.
    pub(crate) fn refuse_key(&self, key: &str, what: &str, remedy: &str) {
        if let Some((_, value)) = self.peek(key) {
            self.report.error_at(&value.span(), what, remedy);
        }
    }

    pub(crate) fn is_empty_list(&self, key: &str) -> bool {
        self.peek(key).and_then(|(_, value)| value.get_ref().as_array()).is_some_and(|items| items.is_empty())
    }

    /// Whether the key is present, valid or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.peek(key).is_some()
    }

    /// Where the table begins.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Reports every key that was not read.
    pub(crate) fn finish(self) {
        for key in self.unread_keys() {
            let remedy = match self.meant_by(key) {
                Some(known) => format!("Did you mean `{known}`?"),
                None => format!("Known are {}.", list(self.known.iter().copied())),
            };
            self.refuse_unknown(key, remedy);
        }
    }

    /// Reports only the keys that are mistyped names of those that were read. This is for a reader of some keys of the table:
    /// the other keys are not its own. `others` are names of such keys, as far as one could be taken for a mistyped one.
    pub(crate) fn finish_part(self, others: &[&str]) {
        for key in self.unread_keys().filter(|key| !others.contains(&&**key.get_ref())) {
            if let Some(known) = self.meant_by(key) {
                self.refuse_unknown(key, format!("Did you mean `{known}`?"));
            }
        }
    }

    /// Tells the test of the reference which default a key has.
    #[cfg_attr(not(test), allow(clippy::unused_self, unused_variables))]
    pub(crate) fn defaults(&self, key: &'static str, default: impl FnOnce() -> String) {
        #[cfg(test)]
        self.report.add_known_key(KnownKey { section: self.kind.clone(), key, default: Some(default()) });
    }

    fn unread_keys(&self) -> impl Iterator<Item = &'r Key<'d>> {
        let keys = self.table.into_iter().flatten().map(|(key, _)| key);
        keys.filter(move |key| {
            let name: &str = key.get_ref();
            !self.known.contains(&name) && !self.report.has_broken_header()
        })
    }

    /// The key that was read and that this one most likely stands for.
    fn meant_by(&self, key: &Key<'d>) -> Option<&'static str> {
        nearest(key.get_ref(), self.known.iter().copied())
    }

    fn refuse_unknown(&self, key: &Key<'d>, remedy: String) {
        let name = key.get_ref();
        let what = match self.path.as_str() {
            "" => format!("unknown table or key `{name}`"),
            path => format!("unknown key `{name}` in [{path}]"),
        };
        self.report.error_at(&key.span(), what, remedy);
    }

    fn entry(&mut self, key: &'static str) -> Option<(&'r Key<'d>, &'r Spanned<DeValue<'d>>)> {
        self.known.push(key);
        #[cfg(test)]
        self.report.add_known_key(KnownKey { section: self.kind.clone(), key, default: None });
        self.peek(key)
    }

    fn peek(&self, key: &str) -> Option<(&'r Key<'d>, &'r Spanned<DeValue<'d>>)> {
        self.table?.get_key_value(key)
    }

    fn as_table(&self, key: &Key<'d>, value: &'r Spanned<DeValue<'d>>) -> Option<&'r DeTable<'d>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let path = self.path_of(key.get_ref());
            let what = format!("`{path}` must be a table, not {}", value::type_of(value.get_ref()));
            self.report.error_at(&value.span(), what, format!("Write [{path}] with its keys below."));
        }
        table
    }

    fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    fn refuse(
        &self,
        key: &str,
        span: &Range<usize>,
        value: &DeValue<'_>,
        expected: Expected,
        invalid: InvalidValue,
    ) {
        let name = self.name_of(key);
        let form = expected.what;
        let example = format!("Write for example `{key} = {}`.", expected.example);
        let (what, remedy) = match invalid {
            InvalidValue::Type => (format!("{name} must be {form}, not {}", value::type_of(value)), example),
            InvalidValue::Form => (format!("{name} must be {form}, which {} is not", quoted(value)), example),
            InvalidValue::Range(allowed) => {
                (format!("{name} must be {allowed}"), format!("Write {form} in that range."))
            }
            InvalidValue::Other(what, remedy) => (format!("{name}: {what}"), remedy),
        };
        self.report.error_at(span, what, remedy);
    }

    /// Reports one item of a list; `expected` is the form of the list.
    fn refuse_item(&self, key: &str, item: &Spanned<DeValue<'_>>, expected: Expected, invalid: InvalidValue) {
        let held = match invalid {
            InvalidValue::Type => value::type_of(item.get_ref()).to_owned(),
            InvalidValue::Form => quoted(item.get_ref()),
            other => return self.refuse(key, &item.span(), item.get_ref(), expected, other),
        };
        let what = format!("{} must be {}, but holds {held}", self.name_of(key), expected.what);
        let remedy = format!("Write for example `{key} = {}`.", expected.example);
        self.report.error_at(&item.span(), what, remedy);
    }

    fn name_of(&self, key: &str) -> String {
        if self.path.is_empty() { format!("`{key}`") } else { format!("`{key}` in [{}]", self.path) }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn quoted(value: &DeValue<'_>) -> String {
    format!("\"{}\"", value.as_str().unwrap_or_default().escape_debug())
}
