//! Words for diagnostics: suggestions for mistyped names, lists, sentences.

/// The word of `known` that a mistyped word most likely stands for, or `None` if no word is similar enough.
///
/// `masque-http` has the same function for requests (`nearest_name`), because the two crates share no crate below them.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Jaro-Winkler tolerates swapped and missing letters. Below this value it suggests unrelated words.
    const MIN_SIMILARITY: f64 = 0.75;
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// The words in backticks, separated by commas.
pub(crate) fn list<'k>(words: impl IntoIterator<Item = &'k str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The clause with a capital letter and a full stop.
pub(crate) fn sentence(clause: &str) -> String {
    let mut chars = clause.chars();
    let capitalised: String = chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect();
    format!("{capitalised}.")
}
