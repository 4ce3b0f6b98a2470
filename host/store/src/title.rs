//! The title of a conversation that was created without one.

/// The title that a conversation gets from its first message: the first line that is not blank, cut after 80
/// characters.
pub fn title_of(message: &str) -> String {
    const LONGEST: usize = 80;
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    match line.char_indices().nth(LONGEST) {
        None => line.to_owned(),
        Some((end, _)) => {
            let cut = line.get(..end).unwrap_or(line);
            // Cut between words. Only a single word that is too long is cut within.
            let whole = cut.rfind(char::is_whitespace).and_then(|space| cut.get(..space)).unwrap_or(cut);
            format!("{}…", whole.trim_end())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::title_of;

    #[test]
    fn a_title_is_the_first_line_that_is_not_blank() {
        assert_eq!(title_of("\n  \n Hello there. \nMore"), "Hello there.");
        assert_eq!(title_of(" \n"), "");
    }

    #[test]
    fn a_long_title_ends_after_a_whole_word_and_a_long_word_is_cut() {
        let words = "word ".repeat(40);
        assert_eq!(title_of(&words), format!("{}…", "word ".repeat(16).trim_end()));
        assert_eq!(title_of(&"é".repeat(200)), format!("{}…", "é".repeat(80)));
    }
}
