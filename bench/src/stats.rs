//! Medians over rounds, and their spread.

use serde::Serialize;

/// A figure of several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Rounds {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) rounds: usize,
}

impl Rounds {
    /// Returns `None` without rounds.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let (upper, lower) = (values.get(middle)?, values.get(middle.checked_sub(1).unwrap_or(middle))?);
        let median = if values.len().is_multiple_of(2) { (upper + lower) / 2.0 } else { *upper };
        Some(Self { median, lowest: *values.first()?, highest: *values.last()?, rounds: values.len() })
    }

    /// Formats the figure with this number of decimals.
    pub(crate) fn show(&self, digits: usize) -> String {
        let Self { median, lowest, highest, .. } = self;
        format!("{median:.digits$} ({lowest:.digits$} – {highest:.digits$})")
    }
}

/// Formats the rounds of a figure for a table. Returns an empty text without rounds.
pub(crate) fn show(values: impl IntoIterator<Item = f64>, digits: usize) -> String {
    Rounds::of(values).map(|rounds| rounds.show(digits)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two() {
        let of = |values: &[f64]| Rounds::of(values.iter().copied()).map(|rounds| rounds.median);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0]), Some(3.0));
        assert_eq!(of(&[9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(of(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn the_spread_is_shown_beside_the_median() {
        assert_eq!(Rounds::of([1.0, 2.0, 4.0]).unwrap().show(1), "2.0 (1.0 – 4.0)");
    }
}
