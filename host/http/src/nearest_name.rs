//! Suggestions for mistyped names of fields and parameters.

/// Returns the known name that a client most likely meant, or `None` if no name is similar enough.
///
/// Compares by Jaro-Winkler similarity, which tolerates swapped and missing letters. `masque-config` has the same
/// function for its diagnostics (`nearest`), because the two crates share no crate below them.
pub fn nearest_name<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Below this similarity, suggestions are wrong more often than right.
    const THRESHOLD: f64 = 0.75;
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= THRESHOLD)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
