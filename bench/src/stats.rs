//! Medians over rounds, and how far the rounds were apart.

use serde::Serialize;

/// What several rounds came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Rounds {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) rounds: usize,
}

impl Rounds {
    /// Of no round at all there is nothing to say.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let (upper, lower) = (values.get(middle)?, values.get(middle.checked_sub(1).unwrap_or(middle))?);
        let median = if values.len().is_multiple_of(2) { (upper + lower) / 2.0 } else { *upper };
        Some(Self { median, least: *values.first()?, most: *values.last()?, rounds: values.len() })
    }

    /// With so many digits after the point.
    pub(crate) fn show(&self, digits: usize) -> String {
        let Self { median, least, most, .. } = self;
        format!("{median:.digits$} ({least:.digits$} – {most:.digits$})")
    }
}

/// The rounds of a figure as they stand in a table; nothing, where there are none.
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
