//! Reads the common kinds of values from a section: durations, sizes, numbers, flags, paths.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::section::{Located, Section};
use crate::value::{self, COUNT, DURATION, Expected, FLAG, SIZE};

impl Section<'_, '_> {
    /// A duration in a range, or the default.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        allowed: RangeInclusive<Duration>,
    ) -> Duration {
        let found = self.read(key, DURATION, |value| value::duration(value, &allowed));
        self.defaults(key, || value::show_duration(default));
        found.map_or(default, |found| found.value)
    }

    /// A duration in a range, if the key is present.
    pub(crate) fn optional_duration(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        self.read(key, DURATION, |value| value::duration(value, &allowed)).map(|found| found.value)
    }

    /// A number of bytes in a range, or the default at the location of the section.
    pub(crate) fn size(
        &mut self,
        key: &'static str,
        default: usize,
        allowed: RangeInclusive<usize>,
    ) -> Located<usize> {
        let found = self.read(key, SIZE, |value| value::size(value, &allowed));
        self.defaults(key, || value::show_size(default));
        found.unwrap_or(Located { value: default, span: self.span() })
    }

    /// A number of bytes in a range, if the key is present.
    pub(crate) fn optional_size(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<usize>,
    ) -> Option<usize> {
        self.read(key, SIZE, |value| value::size(value, &allowed)).map(|found| found.value)
    }

    /// A whole number in a range, or the default.
    pub(crate) fn count(&mut self, key: &'static str, default: u64, allowed: RangeInclusive<u64>) -> u64 {
        let found = self.optional_count(key, allowed);
        self.defaults(key, || default.to_string());
        found.unwrap_or(default)
    }

    /// A whole number in a range, or the default, for a size in memory.
    pub(crate) fn length(&mut self, key: &'static str, default: u64, allowed: RangeInclusive<u64>) -> usize {
        usize::try_from(self.count(key, default, allowed)).unwrap_or(usize::MAX)
    }

    /// A whole number in a range, if the key is present.
    pub(crate) fn optional_count(&mut self, key: &'static str, allowed: RangeInclusive<u64>) -> Option<u64> {
        self.read(key, COUNT, |value| value::count(value, &allowed)).map(|found| found.value)
    }

    /// `true` or `false`, or the default.
    pub(crate) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        let found = self.read(key, FLAG, value::flag);
        self.defaults(key, || default.to_string());
        found.map_or(default, |found| found.value)
    }

    /// A path, if the key is present; a relative one starts at `base`.
    pub(crate) fn path(
        &mut self,
        key: &'static str,
        example: &'static str,
        base: &Path,
    ) -> Option<Located<PathBuf>> {
        self.read(key, Expected { what: "a path", example }, |value| value::path(value, base))
    }
}
