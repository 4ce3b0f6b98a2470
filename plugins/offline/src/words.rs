//! Splits a text into clauses of words, and turns words back into text, with pronouns exchanged if wanted.

/// The number of clauses of a message that are read. More would only make the reply longer.
const MAX_CLAUSES: usize = 40;
/// The number of words of a clause that are read.
const MAX_WORDS: usize = 60;
/// The number of words of the user's text that a reply repeats.
const MAX_ECHO: usize = 18;

/// A word in the form for comparing and in the form for showing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Word {
    pub(crate) plain: String,
    pub(crate) shown: String,
}

/// Splits a text into clauses. The words have no punctuation, and contractions are written out.
pub(crate) fn clauses(text: &str) -> Vec<Vec<Word>> {
    let text = text.replace(['’', '‘', '`'], "'");
    text.split(['.', ',', ';', '!', '?', '\n', '(', ')', '"', '“', '”', '。', '，', '！', '？'])
        .map(|clause| clause.split_whitespace().flat_map(expand).take(MAX_WORDS).collect::<Vec<_>>())
        .flat_map(|clause| split_at_conjunctions(&clause))
        .filter(|clause| !clause.is_empty())
        .take(MAX_CLAUSES)
        .collect()
}

/// Splits before "but", and before "and" if a pronoun follows.
fn split_at_conjunctions(words: &[Word]) -> Vec<Vec<Word>> {
    let mut clauses = vec![Vec::new()];
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        let next = rest.peek().map(|next| next.plain.as_str()).unwrap_or_default();
        let begins = match word.plain.as_str() {
            "but" => true,
            "and" => ["i", "you", "he", "she", "it", "we", "they"].contains(&next),
            _ => false,
        };
        match clauses.last_mut() {
            Some(open) if !begins => open.push(word.clone()),
            _ => clauses.push(Vec::new()),
        }
    }
    clauses
}

fn expand(token: &str) -> Vec<Word> {
    let token = token.trim_matches(|c: char| !c.is_alphanumeric() && c != '\'').trim_matches('\'');
    let plain = token.to_lowercase();
    let parts: &[&str] = match plain.as_str() {
        "i'm" | "im" => &["I", "am"],
        "can't" | "cannot" => &["can", "not"],
        "won't" => &["will", "not"],
        "let's" => &["let", "us"],
        "gonna" => &["going", "to"],
        "wanna" => &["want", "to"],
        "" => return Vec::new(),
        other => return expand_ending(token, other),
    };
    parts.iter().map(|part| word(part)).collect()
}

fn expand_ending(token: &str, plain: &str) -> Vec<Word> {
    let endings =
        [("n't", "not"), ("'re", "are"), ("'ve", "have"), ("'ll", "will"), ("'d", "would"), ("'m", "am")];
    for (ending, full) in endings {
        if let Some(stem) = plain.strip_suffix(ending).and_then(|stem| token.get(..stem.len())) {
            return vec![word(stem), word(full)];
        }
    }
    // Elsewhere "'s" is kept, since it is mostly a possessive.
    match plain {
        "it's" | "that's" | "there's" | "what's" | "who's" | "he's" | "she's" | "where's" | "how's" => {
            vec![word(token.trim_end_matches(['s', 'S']).trim_end_matches('\'')), word("is")]
        }
        _ => vec![word(token)],
    }
}

fn word(shown: &str) -> Word {
    Word { plain: shown.to_lowercase(), shown: shown.into() }
}

/// Joins the words unchanged.
pub(crate) fn join(words: &[Word]) -> String {
    shorten(words.iter().map(|word| word.shown.clone()).collect())
}

/// Joins the words with first and second person exchanged: "I am" becomes "you are".
pub(crate) fn reflect(words: &[Word]) -> String {
    let mut said = Vec::with_capacity(words.len());
    let mut before = "";
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        let plain = word.plain.as_str();
        let next = rest.peek().map(|next| next.plain.as_str()).unwrap_or_default();
        let turned = match (plain, next) {
            ("i", "am") | ("i", "was") => {
                rest.next();
                if next == "am" { "you are" } else { "you were" }
            }
            ("you", "are") | ("you", "were") => {
                rest.next();
                if next == "are" { "I am" } else { "I was" }
            }
            ("am", "i") => {
                rest.next();
                "are you"
            }
            ("i" | "me", _) => "you",
            ("my", _) => "your",
            ("mine", _) => "yours",
            ("myself", _) => "yourself",
            ("we" | "us", _) => "you",
            ("our", _) => "your",
            ("ours", _) => "yours",
            ("your", _) => "my",
            ("yours", _) => "mine",
            ("yourself", _) => "myself",
            ("you", _) if is_subject(before, next) => "I",
            ("you", _) => "me",
            ("am", _) => "are",
            _ => word.shown.as_str(),
        };
        said.push(turned.to_string());
        before = plain;
    }
    // Write the first word of the clause in lower case; it had a capital because it came first.
    if let (Some(first), Some(word)) = (said.first_mut(), words.first())
        && *first == word.shown
        && word.plain != "i"
        && NO_NAMES.contains(&word.plain.as_str())
    {
        *first = word.plain.clone();
    }
    shorten(said)
}

/// Words that are never names.
const NO_NAMES: [&str; 28] = [
    "a", "an", "and", "at", "being", "does", "every", "for", "going", "having", "he", "her", "his", "in",
    "is", "it", "not", "of", "on", "she", "so", "some", "that", "the", "their", "they", "this", "to",
];

/// Whether "you" is the subject. After these words it is the object.
fn is_subject(before: &str, next: &str) -> bool {
    const BEFORE_OBJECT: [&str; 32] = [
        "about",
        "ask",
        "asked",
        "at",
        "believe",
        "by",
        "for",
        "from",
        "hate",
        "hear",
        "help",
        "know",
        "like",
        "love",
        "meet",
        "met",
        "miss",
        "need",
        "of",
        "on",
        "see",
        "tell",
        "than",
        "thank",
        "to",
        "told",
        "trust",
        "understand",
        "want",
        "wish",
        "with",
        "without",
    ];
    !next.is_empty() && !BEFORE_OBJECT.contains(&before)
}

fn shorten(mut words: Vec<String>) -> String {
    if words.len() > MAX_ECHO {
        words.truncate(MAX_ECHO);
        words.push("…".into());
    }
    words.join(" ").replace(" …", "…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> Vec<Word> {
        clauses(text).into_iter().next().unwrap_or_default()
    }

    #[test]
    fn contractions_are_written_out() {
        let table = [
            ("I'm tired", "I am tired"),
            ("I’m tired", "I am tired"),
            ("you don't", "you do not"),
            ("Can't you", "can not you"),
            ("we've", "we have"),
            ("It's my mother's", "It is my mother's"),
            ("'quoted'", "quoted"),
            ("I'd", "I would"),
        ];
        for (text, wanted) in table {
            assert_eq!(join(&first(text)), wanted);
        }
    }

    #[test]
    fn a_text_is_split_into_clauses() {
        let said: Vec<_> = clauses("Hi! I am Ada, and you?  … \n你好。 salt and pepper but late and I know")
            .iter()
            .map(|clause| join(clause))
            .collect();
        assert_eq!(said, ["Hi", "I am Ada", "you", "你好", "salt and pepper", "late", "I know"]);
    }

    #[test]
    fn pronouns_are_exchanged() {
        let table = [
            ("I am tired of my work", "you are tired of your work"),
            ("you are like my father", "I am like your father"),
            ("you hate me", "I hate you"),
            ("that you help me", "that I help you"),
            ("talking to you", "talking to me"),
            ("the way you say that", "the way I say that"),
            ("I need you here", "you need me here"),
            ("help myself", "help yourself"),
            ("I was alone", "you were alone"),
            ("our house is mine", "your house is yours"),
            ("The sea", "the sea"),
            ("Ada and the sea", "Ada and the sea"),
        ];
        for (text, wanted) in table {
            assert_eq!(reflect(&first(text)), wanted);
        }
    }

    #[test]
    fn an_echo_is_short_however_long_the_message() {
        assert!(reflect(&first(&"word ".repeat(20_000))).len() < 200);
    }
}
