//! Rewrites what is nearly JSON as JSON: escapes and control characters in strings, and numbers that JSON does not have.

use crate::surrogates;

/// Rewrites what makes a text invalid. Leaves the rest as it is.
#[derive(Default)]
pub(super) struct Repair {
    pub(super) out: String,
    /// Half a character at the beginning or the end of a string becomes a mark.
    keeps_halves: bool,
    pub(super) has_marks: bool,
}

impl Repair {
    pub(super) fn new(keeps_halves: bool) -> Self {
        Self { keeps_halves, ..Self::default() }
    }

    pub(super) fn add(&mut self, text: &str) {
        self.out.reserve(text.len() + 16);
        let mut rest = text;
        let mut in_string = false;
        while let Some(next) = rest.chars().next() {
            let (_, after) = rest.split_at(next.len_utf8());
            if !in_string {
                in_string = next == '"';
                rest = match ["NaN", "-Infinity", "Infinity"].iter().find_map(|word| rest.strip_prefix(word))
                {
                    Some(after) => {
                        self.out.push_str("null");
                        after
                    }
                    None => {
                        self.out.push(next);
                        after
                    }
                };
                continue;
            }
            rest = match next {
                '\\' => self.add_escape(after),
                '"' => {
                    in_string = false;
                    self.out.push(next);
                    after
                }
                control if control.is_ascii_control() => {
                    self.out.push_str(&format!("\\u{:04x}", u32::from(control)));
                    after
                }
                other => {
                    self.out.push(other);
                    after
                }
            };
        }
    }

    /// Writes the escape whose backslash was read, and returns the text after it.
    fn add_escape<'a>(&mut self, after: &'a str) -> &'a str {
        let Some(kind) = after.chars().next() else { return after };
        let (_, rest) = after.split_at(kind.len_utf8());
        match kind {
            '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' => {
                self.out.push('\\');
                self.out.push(kind);
                rest
            }
            'u' => match code_unit(rest) {
                Some((high @ 0xd800..=0xdbff, rest)) => match rest.strip_prefix("\\u").and_then(code_unit) {
                    Some((low @ 0xdc00..=0xdfff, rest)) => {
                        self.out.push_str(&format!("\\u{high:04x}\\u{low:04x}"));
                        rest
                    }
                    _ => {
                        self.add_half(high, rest.starts_with('"'));
                        rest
                    }
                },
                Some((low @ 0xdc00..=0xdfff, rest)) => {
                    self.add_half(low, self.is_at_start());
                    rest
                }
                Some((unit, rest)) => {
                    self.out.push_str(&format!("\\u{unit:04x}"));
                    rest
                }
                None => {
                    self.out.push_str("\\\\u");
                    rest
                }
            },
            '\'' => {
                self.out.push('\'');
                rest
            }
            _ => {
                self.out.push_str("\\\\");
                after
            }
        }
    }

    /// Writes a lone surrogate. `may_go_on` says whether its other half can be in another frame.
    fn add_half(&mut self, unit: u16, may_go_on: bool) {
        let is_marked = self.keeps_halves && may_go_on;
        self.has_marks |= is_marked;
        self.out.push(if is_marked { surrogates::mark(unit) } else { char::REPLACEMENT_CHARACTER });
    }

    /// Whether a string has just begun. A quotation mark within one follows a backslash.
    fn is_at_start(&self) -> bool {
        self.out.ends_with('"') && !self.out.ends_with("\\\"")
    }
}

fn code_unit(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let unit = u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    Some((unit, rest))
}
