//! One table of the file while it is read. It remembers which keys were asked for, so that what is left over is known to
//! be a mistake, and so that the reference can be checked against what is really read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

#[cfg(test)]
use super::report::Known;
use super::report::{Report, listed, nearest, sentence};
use super::types::Name;
use super::values::{self, COUNT, DURATION, FLAG, Form, SIZE, Wrong};

type Key<'d> = Spanned<Cow<'d, str>>;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A table, or the absence of one, which reads like an empty table.
#[derive(Debug)]
pub(super) struct Section<'r, 'd> {
    pub(super) report: &'r Report<'d>,
    table: Option<&'r DeTable<'d>>,
    /// As its header names it; empty for the file itself.
    path: String,
    /// The same with `NAME` for what the operator chose.
    #[cfg(test)]
    kind: String,
    span: Range<usize>,
    known: Vec<&'static str>,
}

impl<'r, 'd> Section<'r, 'd> {
    pub(super) fn root(report: &'r Report<'d>, table: &'r DeTable<'d>) -> Self {
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
    pub(super) fn table(&mut self, key: &'static str) -> Section<'r, 'd> {
        let found =
            self.entry(key).and_then(|(name, value)| Some((name.span(), self.as_table(name, value)?)));
        let (span, table) = match found {
            Some((span, table)) => (span, Some(table)),
            None => (self.span.clone(), None),
        };
        Section {
            report: self.report,
            table,
            path: self.within(key),
            #[cfg(test)]
            kind: join(&self.kind, key),
            span,
            known: Vec::new(),
        }
    }

    /// The tables under `key`, by names that the operator chose.
    pub(super) fn named(&mut self, key: &'static str) -> BTreeMap<Name, Section<'r, 'd>> {
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
                    path: tables.within(name),
                    #[cfg(test)]
                    kind: join(&tables.kind, "NAME"),
                    span: key.span(),
                    known: Vec::new(),
                };
                Some((parsed.ok()?, section))
            })
            .collect()
    }

    /// The value under `key` as `parse` takes it; what it refuses is reported with its place and `form`.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        form: Form,
        parse: impl FnOnce(&'r Spanned<DeValue<'d>>) -> Result<T, Wrong>,
    ) -> Option<Found<T>> {
        let (_, value) = self.entry(key)?;
        match parse(value) {
            Ok(parsed) => Some(Found { value: parsed, span: value.span() }),
            Err(wrong) => {
                self.refuse(key, &value.span(), value.get_ref(), form, wrong);
                None
            }
        }
    }

    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        allowed: RangeInclusive<Duration>,
    ) -> Duration {
        let found = self.read(key, DURATION, |value| values::duration(value.get_ref(), &allowed));
        self.defaults(key, || values::show_duration(default));
        found.map_or(default, |found| found.value)
    }

    pub(super) fn size(
        &mut self,
        key: &'static str,
        default: usize,
        allowed: RangeInclusive<usize>,
    ) -> Found<usize> {
        let found = self.read(key, SIZE, |value| values::size(value.get_ref(), &allowed));
        self.defaults(key, || values::show_size(default));
        found.unwrap_or(Found { value: default, span: self.span.clone() })
    }

    pub(super) fn optional_size(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<usize>,
    ) -> Option<usize> {
        self.read(key, SIZE, |value| values::size(value.get_ref(), &allowed)).map(|found| found.value)
    }

    pub(super) fn count(&mut self, key: &'static str, default: u64, allowed: RangeInclusive<u64>) -> u64 {
        let found = self.optional_count(key, allowed);
        self.defaults(key, || default.to_string());
        found.unwrap_or(default)
    }

    pub(super) fn optional_count(&mut self, key: &'static str, allowed: RangeInclusive<u64>) -> Option<u64> {
        self.read(key, COUNT, |value| values::count(value.get_ref(), &allowed)).map(|found| found.value)
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        let found = self.read(key, FLAG, |value| values::flag(value.get_ref()));
        self.defaults(key, || default.to_string());
        found.map_or(default, |found| found.value)
    }

    /// A list whose items are parsed one by one, so that every wrong one is reported.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        form: Form,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Found<Vec<Found<T>>>> {
        let (_, value) = self.entry(key)?;
        let Some(items) = value.get_ref().as_array() else {
            self.refuse(key, &value.span(), value.get_ref(), form, Wrong::Type);
            return None;
        };
        let parsed = items.iter().filter_map(|item| {
            let parsed = item.get_ref().as_str().ok_or(Wrong::Type).and_then(&parse);
            match parsed {
                Ok(value) => Some(Found { value, span: item.span() }),
                Err(wrong) => {
                    self.refuse_item(key, item, form, wrong);
                    None
                }
            }
        });
        Some(Found { value: parsed.collect(), span: value.span() })
    }

    /// Reports the key if it is absent.
    pub(super) fn require(&self, key: &str, form: Form) {
        self.require_unless(key, form, "");
    }

    /// The same where there is another remedy, as the end of a sentence.
    pub(super) fn require_unless(&self, key: &str, form: Form, otherwise: &str) {
        if self.peek(key).is_none() && !self.report.is_torn() {
            let what = format!("[{}] has no `{key}`", self.path);
            let remedy = format!("Add for example `{key} = {}`{otherwise}.", form.example);
            self.report.error_at(&self.span, what, remedy);
        }
    }

    /// Reports something about the value of a key that is there.
    pub(super) fn refuse_key(&self, key: &str, what: &str, remedy: &str) {
        if let Some((_, value)) = self.peek(key) {
            self.report.error_at(&value.span(), what, remedy);
        }
    }

    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        self.peek(key).and_then(|(_, value)| value.get_ref().as_array()).is_some_and(|items| items.is_empty())
    }

    /// Whether the file has the key, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.peek(key).is_some()
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) || self.report.is_unsure_of_tables() {
                continue;
            }
            let what = match self.path.as_str() {
                "" => format!("unknown table or key `{name}`"),
                path => format!("unknown key `{name}` in [{path}]"),
            };
            let remedy = match nearest(name, self.known.iter().copied()) {
                Some(known) => format!("Did you mean `{known}`?"),
                None => format!("Known are {}.", listed(self.known.iter().copied())),
            };
            self.report.error_at(&key.span(), what, remedy);
        }
    }

    fn entry(&mut self, key: &'static str) -> Option<(&'r Key<'d>, &'r Spanned<DeValue<'d>>)> {
        self.known.push(key);
        #[cfg(test)]
        self.report.know(Known { section: self.kind.clone(), key, default: None });
        self.peek(key)
    }

    fn peek(&self, key: &str) -> Option<(&'r Key<'d>, &'r Spanned<DeValue<'d>>)> {
        self.table?.get_key_value(key)
    }

    fn as_table(&self, key: &Key<'d>, value: &'r Spanned<DeValue<'d>>) -> Option<&'r DeTable<'d>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let path = self.within(key.get_ref());
            let what = format!("`{path}` must be a table, not {}", values::type_of(value.get_ref()));
            self.report.error_at(&value.span(), what, format!("Write [{path}] with its keys below."));
        }
        table
    }

    fn within(&self, key: &str) -> String {
        join(&self.path, key)
    }

    fn refuse(&self, key: &str, span: &Range<usize>, value: &DeValue<'_>, form: Form, wrong: Wrong) {
        let name = self.name_of(key);
        let example = format!("Write for example `{key} = {}`.", form.example);
        let (what, remedy) = match wrong {
            Wrong::Type => (format!("{name} must be {}, not {}", form.what, values::type_of(value)), example),
            Wrong::Form => (format!("{name} must be {}, which {} is not", form.what, quoted(value)), example),
            Wrong::Range(allowed) => {
                (format!("{name} must be {allowed}"), format!("Write {} in that range.", form.what))
            }
            Wrong::Other(what, remedy) => (format!("{name}: {what}"), remedy),
        };
        self.report.error_at(span, what, remedy);
    }

    /// The same for one item of a list, whose form is the list's.
    fn refuse_item(&self, key: &str, item: &Spanned<DeValue<'_>>, form: Form, wrong: Wrong) {
        let held = match wrong {
            Wrong::Type => values::type_of(item.get_ref()).to_owned(),
            Wrong::Form => quoted(item.get_ref()),
            other => return self.refuse(key, &item.span(), item.get_ref(), form, other),
        };
        let what = format!("{} must be {}, but holds {held}", self.name_of(key), form.what);
        self.report.error_at(&item.span(), what, format!("Write for example `{key} = {}`.", form.example));
    }

    fn name_of(&self, key: &str) -> String {
        if self.path.is_empty() { format!("`{key}`") } else { format!("`{key}` in [{}]", self.path) }
    }

    /// Tells the reference's test what the default is.
    #[cfg_attr(not(test), allow(clippy::unused_self, unused_variables))]
    pub(super) fn defaults(&self, key: &'static str, default: impl FnOnce() -> String) {
        #[cfg(test)]
        self.report.know(Known { section: self.kind.clone(), key, default: Some(default()) });
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn quoted(value: &DeValue<'_>) -> String {
    format!("\"{}\"", value.as_str().unwrap_or_default().escape_debug())
}
