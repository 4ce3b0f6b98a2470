//! What an expression of PromQL names: metrics with the matchers of their labels, and the labels that it groups by. It knows no
//! types and no functions: `promtool` checks the rest.

/// The names in one expression.
#[derive(Debug, Default)]
pub struct Expression {
    pub selectors: Vec<Selector>,
    /// The labels behind `by`, `without`, `on`, `ignoring`, `group_left` and `group_right`.
    pub grouping: Vec<String>,
}

/// A metric and the labels that select its series.
#[derive(Debug)]
pub struct Selector {
    pub metric: String,
    /// The names of the labels, each with the value or pattern that it is compared with.
    pub matchers: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Symbol(char),
}

const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 6] = ["and", "or", "unless", "bool", "offset", "atan2"];

impl Expression {
    /// Reads an expression. Panics if a selector has no metric, or no end.
    pub fn read(text: &str) -> Self {
        let tokens = tokens(text);
        let mut found = Self::default();
        let mut rest = tokens.as_slice();
        while let Some((token, after)) = rest.split_first() {
            rest = after;
            assert!(*token != Token::Symbol('{'), "a selector without a metric in {text:?}");
            let Token::Word(word) = token else { continue };
            match after.first() {
                Some(Token::Symbol('(')) if GROUPING.contains(&word.as_str()) => {
                    let end = position(after, ')', text);
                    let labels = after[..end].iter().filter_map(|token| match token {
                        Token::Word(label) => Some(label.clone()),
                        _ => None,
                    });
                    found.grouping.extend(labels);
                    rest = &after[end..];
                }
                // A function, or an aggregation.
                Some(Token::Symbol('(')) => {}
                Some(Token::Word(next)) if ["by", "without"].contains(&next.as_str()) => {}
                _ if GROUPING.contains(&word.as_str()) || OPERATORS.contains(&word.as_str()) => {}
                Some(Token::Symbol('{')) => {
                    let end = position(after, '}', text);
                    found
                        .selectors
                        .push(Selector { metric: word.clone(), matchers: matchers(&after[1..end]) });
                    rest = &after[end..];
                }
                _ => found.selectors.push(Selector { metric: word.clone(), matchers: Vec::new() }),
            }
        }
        found
    }
}

fn position(tokens: &[Token], symbol: char, text: &str) -> usize {
    let found = tokens.iter().position(|token| *token == Token::Symbol(symbol));
    found.unwrap_or_else(|| panic!("no {symbol:?} in {text:?}"))
}

/// A word, operators, a text; then a comma or the end.
fn matchers(tokens: &[Token]) -> Vec<(String, String)> {
    let parts = tokens.split(|token| *token == Token::Symbol(','));
    let matcher = |part: &[Token]| match (part.first(), part.last()) {
        (Some(Token::Word(label)), Some(Token::Text(value))) => (label.clone(), value.clone()),
        _ => panic!("{part:?} is no matcher"),
    };
    parts.filter(|part| !part.is_empty()).map(matcher).collect()
}

/// The words, texts and symbols, without numbers, durations and what is between square brackets.
fn tokens(text: &str) -> Vec<Token> {
    let is_word = |character: &char| character.is_ascii_alphanumeric() || "_:".contains(*character);
    let mut tokens = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '#' => while characters.next_if(|next| *next != '\n').is_some() {},
            '[' => while characters.next().is_some_and(|next| next != ']') {},
            '"' | '\'' => {
                let mut inside = String::new();
                while let Some(next) = characters.next_if(|next| *next != character) {
                    inside.push(if next == '\\' { characters.next().unwrap_or(next) } else { next });
                }
                characters.next();
                tokens.push(Token::Text(inside));
            }
            digit if digit.is_ascii_digit() => {
                while characters.next_if(|next| next.is_ascii_alphanumeric() || *next == '.').is_some() {}
            }
            start if is_word(&start) => {
                let mut word = String::from(start);
                while let Some(next) = characters.next_if(is_word) {
                    word.push(next);
                }
                tokens.push(Token::Word(word));
            }
            space if space.is_whitespace() => {}
            symbol => tokens.push(Token::Symbol(symbol)),
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_labels_and_groups_are_found_and_nothing_else() {
        let text = r#"histogram_quantile(0.95, sum by (le, plugin) (rate(a_bucket{x="1",y=~"2|3"}[5m]))) # c
            > 1e3 and on (job) (b offset 1d or absent(up{job="m"})) / ignoring (z) group_left c"#;
        let found = Expression::read(text);
        let metrics: Vec<_> = found.selectors.iter().map(|selector| selector.metric.as_str()).collect();
        assert_eq!(metrics, ["a_bucket", "b", "up", "c"]);
        let matchers = &found.selectors[0].matchers;
        assert_eq!(*matchers, [("x".to_owned(), "1".to_owned()), ("y".to_owned(), "2|3".to_owned())]);
        assert_eq!(found.grouping, ["le", "plugin", "job", "z"]);
    }
}
