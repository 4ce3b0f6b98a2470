//! Replaces the macros of cards: those of version 3 (`{{char}}`, `{{user}}`, `{{random}}`, `{{pick}}`, `{{roll}}`, `{{reverse}}`,
//! `{{comment}}`, `{{hidden_key}}`, `{{// …}}`), `{{original}}`, and the older `<BOT>`, `<CHAR>` and `<USER>`.
//!
//! The text is read once, from its beginning to its end. Inner macros are replaced before the outer one, and values that are
//! inserted are not expanded again, so a user named `{{char}}` keeps that name. Every step costs at most the length of the
//! macro, and macros are nested to a bounded depth, so the time is linear in the text. A macro that is not known, or nested
//! too deeply, is removed and noted: nothing in braces is meant for a reader. A text with open braces alone stays as it is.

use crate::draw::{Place, Seeds, draw};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;

/// How deeply macros are nested. Each level may read what is inside again.
const MAX_DEPTH: usize = 16;
/// How much longer than its source a text may become, in bytes.
const MAX_GROWTH: usize = 1 << 20;
/// The longest name of a macro.
const MAX_NAME: usize = 40;
/// The names of macros that have a value.
const KNOWN: [&str; 13] = [
    "char",
    "bot",
    "user",
    "original",
    "newline",
    "comment",
    "hidden_key",
    "noop",
    "trim",
    "reverse",
    "random",
    "pick",
    "roll",
];
/// The most different notes.
const MAX_NOTED: usize = 20;
/// The largest dice.
const MAX_DICE: u64 = 100;
const MAX_SIDES: u64 = 1_000_000;

/// What was removed from a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Removed {
    /// A macro with a name that is not known, or without a name.
    Unknown(String),
    /// A known macro with an argument that it does not take, or without one that it needs.
    WrongArgument(String),
    NestedTooDeeply,
    TooLong,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) if name.is_empty() => f.write_str("macros without a name are removed"),
            Self::Unknown(name) => write!(f, "the macro `{{{{{name}}}}}` is not known and is removed"),
            Self::WrongArgument(name) => {
                write!(f, "the macro `{{{{{name}}}}}` is removed where its argument can't be used")
            }
            Self::NestedTooDeeply => write!(f, "macros nested more than {MAX_DEPTH} deep are removed"),
            Self::TooLong => {
                write!(f, "values of macros that add more than {MAX_GROWTH} bytes to a text are left out")
            }
        }
    }
}

/// The values of the macros, and what was noticed while texts were expanded.
pub(crate) struct Macros<'a> {
    pub(crate) char: &'a str,
    pub(crate) user: &'a str,
    seeds: Seeds,
    removed: RefCell<BTreeSet<Removed>>,
    /// Whether a value was inserted that differs from turn to turn.
    varies: Cell<bool>,
}

impl<'a> Macros<'a> {
    pub(crate) fn new(char: &'a str, user: &'a str, seeds: Seeds) -> Self {
        Self { char, user, seeds, removed: RefCell::default(), varies: Cell::new(false) }
    }

    /// Expands the part of the card with this name. `{{original}}` stands for nothing.
    pub(crate) fn expand(&self, part: &str, text: &str) -> String {
        self.expand_with_original(part, text, "")
    }

    /// The same with `{{original}}` replaced by `original`, which is expanded already.
    pub(crate) fn expand_with_original(&self, part: &str, text: &str, original: &str) -> String {
        Expansion::new(self, part, text, original).run(text)
    }

    /// What was removed so far.
    pub(crate) fn removed(&self) -> Vec<Removed> {
        self.removed.borrow().iter().cloned().collect()
    }

    /// Whether a text since the last call differs from turn to turn.
    pub(crate) fn take_varies(&self) -> bool {
        self.varies.take()
    }

    fn note_removed(&self, what: Removed) {
        let mut removed = self.removed.borrow_mut();
        if removed.len() < MAX_NOTED {
            removed.insert(what);
        }
    }
}

/// One text on its way.
struct Expansion<'a> {
    macros: &'a Macros<'a>,
    part: &'a str,
    original: &'a str,
    out: String,
    /// The macros that are open, the outermost first.
    open: Vec<Open>,
    /// The separators of the macros that are open, in their order.
    separators: Vec<Separator>,
    draws: u64,
    max_bytes: usize,
}

/// A macro whose end was not read yet. Its braces are in the output, in case there is no end.
struct Open {
    /// Where its braces begin in the output.
    start: usize,
    /// How many separators the macros around it have so far.
    separators: usize,
}

/// A separator that stands in the card itself. One that comes with an inserted value separates nothing.
#[derive(Clone, Copy)]
struct Separator {
    at: usize,
    kind: SeparatorKind,
}

#[derive(Clone, Copy, PartialEq)]
enum SeparatorKind {
    Comma,
    TwoColons,
}

impl SeparatorKind {
    fn len(self) -> usize {
        match self {
            Self::Comma => 1,
            Self::TwoColons => 2,
        }
    }
}

impl<'a> Expansion<'a> {
    fn new(macros: &'a Macros<'a>, part: &'a str, text: &str, original: &'a str) -> Self {
        Self {
            macros,
            part,
            original,
            out: String::with_capacity(text.len()),
            open: Vec::new(),
            separators: Vec::new(),
            draws: 0,
            max_bytes: text.len().saturating_add(MAX_GROWTH),
        }
    }

    fn run(mut self, text: &str) -> String {
        let mut rest = text;
        while let Some(at) = self.find_special(rest) {
            let (before, from) = rest.split_at(at);
            self.out.push_str(before);
            let read = match from.as_bytes().first() {
                Some(b'{') => self.open_braces(from),
                Some(b'}') => self.close_braces(from),
                Some(b'<') => self.angle_brackets(from),
                _ => self.separator(from),
            };
            rest = from.get(read..).unwrap_or_default();
        }
        self.out.push_str(rest);
        self.out
    }

    /// Where reading stops next. Outside of macros, which is most of a card, nothing can be closed or separated.
    fn find_special(&self, text: &str) -> Option<usize> {
        match self.open.is_empty() {
            true => memchr::memchr2(b'{', b'<', text.as_bytes()),
            false => text.bytes().position(|byte| matches!(byte, b'{' | b'}' | b'<' | b',' | b':')),
        }
    }

    /// Reads a run of `{`. Of an odd run the first one is text.
    fn open_braces(&mut self, from: &str) -> usize {
        let run = run_length(from, b'{');
        if run % 2 == 1 {
            self.out.push('{');
        }
        for _ in 0..run / 2 {
            self.open.push(Open { start: self.out.len(), separators: self.separators.len() });
            self.out.push_str("{{");
        }
        run
    }

    /// Reads a run of `}`. What closes nothing is text.
    fn close_braces(&mut self, from: &str) -> usize {
        let run = run_length(from, b'}');
        let closed = (run / 2).min(self.open.len());
        for _ in 0..closed {
            self.close();
        }
        (2 * closed..run).for_each(|_| self.out.push('}'));
        run
    }

    fn angle_brackets(&mut self, from: &str) -> usize {
        let (char, user) = (self.macros.char, self.macros.user);
        for (name, value) in [("<user>", user), ("<char>", char), ("<bot>", char)] {
            if from.get(..name.len()).is_some_and(|written| written.eq_ignore_ascii_case(name)) {
                self.insert(value);
                return name.len();
            }
        }
        self.out.push('<');
        1
    }

    fn separator(&mut self, from: &str) -> usize {
        let kind = match from.as_bytes() {
            [b',', ..] if !self.out.ends_with('\\') => SeparatorKind::Comma,
            [b':', b':', ..] => SeparatorKind::TwoColons,
            _ => {
                // An escaped comma, or one colon.
                self.out.push_str(from.get(..1).unwrap_or_default());
                return 1;
            }
        };
        if !self.open.is_empty() {
            self.separators.push(Separator { at: self.out.len(), kind });
        }
        self.out.push_str(from.get(..kind.len()).unwrap_or_default());
        kind.len()
    }

    /// Replaces the innermost open macro with its value.
    fn close(&mut self) {
        let Some(Open { start, separators }) = self.open.pop() else { return };
        let value = if self.open.len() < MAX_DEPTH {
            self.value(start, separators)
        } else {
            self.macros.note_removed(Removed::NestedTooDeeply);
            "".into()
        };
        self.out.truncate(start);
        self.separators.truncate(separators);
        self.insert(&value);
    }

    fn insert(&mut self, value: &str) {
        if self.out.len().saturating_add(value.len()) <= self.max_bytes {
            self.out.push_str(value);
        } else {
            self.macros.note_removed(Removed::TooLong);
        }
    }

    /// The value of the macro that begins at `start` in the output.
    fn value(&mut self, start: usize, separators: usize) -> Cow<'a, str> {
        let begins = start + "{{".len();
        let content = self.out.get(begins..).unwrap_or_default();
        let trimmed = content.trim_start();
        if trimmed.starts_with("//") {
            return "".into();
        }
        let (name, argument) = split_name(trimmed);
        let argument_at = argument.map(|argument| self.out.len() - argument.len());
        let known = KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or_default();
        match (known, argument) {
            ("char" | "bot", None) => self.macros.char.into(),
            ("user", None) => self.macros.user.into(),
            ("original", None) => self.original.into(),
            ("newline", None) => "\n".into(),
            ("comment" | "hidden_key", Some(_)) | ("noop" | "trim", None) => "".into(),
            // Two colons, as `{{random::a::b}}` has them.
            ("reverse", Some(text)) => text.strip_prefix(':').unwrap_or(text).chars().rev().collect(),
            ("random", Some(_)) => {
                let choices = self.choices(argument_at.unwrap_or(begins), separators);
                let index = self.draw(self.macros.seeds.turn, choices.len());
                self.macros.varies.set(true);
                choices.get(index).cloned().unwrap_or_default().into()
            }
            ("pick", Some(_)) => {
                let choices = self.choices(argument_at.unwrap_or(begins), separators);
                let index = self.draw(self.macros.seeds.conversation, choices.len());
                choices.get(index).cloned().unwrap_or_default().into()
            }
            ("roll", Some(dice)) if let Some(dice) = Dice::parse(dice) => self.roll(dice).to_string().into(),
            (known, _) => {
                let written = name.chars().take(MAX_NAME).collect();
                self.macros.note_removed(if known.is_empty() {
                    Removed::Unknown(written)
                } else {
                    Removed::WrongArgument(written)
                });
                "".into()
            }
        }
    }

    /// The choices of a macro whose argument begins at `at`: separated by commas or, if the argument begins with a colon
    /// (`{{random::a::b}}`), by two colons.
    fn choices(&self, at: usize, separators: usize) -> Vec<String> {
        let argument = self.out.get(at..).unwrap_or_default();
        let (kind, begins) = match argument.starts_with(':') {
            true => (SeparatorKind::TwoColons, at + 1),
            false => (SeparatorKind::Comma, at),
        };
        let own = self.separators.get(separators..).unwrap_or_default();
        let mut from = begins;
        let mut choices = Vec::new();
        let mut add = |from: usize, to: Option<usize>| {
            let choice = self.out.get(from..to.unwrap_or(self.out.len())).unwrap_or_default();
            choices.push(choice.trim().replace("\\,", ","));
        };
        for separator in own.iter().filter(|separator| separator.kind == kind && separator.at >= begins) {
            add(from, Some(separator.at));
            from = separator.at + kind.len();
        }
        add(from, None);
        choices
    }

    fn draw(&mut self, seed: u64, choices: usize) -> usize {
        let place = Place { part: self.part, index: self.draws };
        self.draws += 1;
        let sides = u64::try_from(choices).unwrap_or(u64::MAX);
        usize::try_from(draw(seed, place, sides)).unwrap_or_default()
    }

    fn roll(&mut self, dice: Dice) -> i64 {
        self.macros.varies.set(true);
        let mut sum = dice.plus;
        for _ in 0..dice.count {
            let place = Place { part: self.part, index: self.draws };
            self.draws += 1;
            let side = draw(self.macros.seeds.turn, place, dice.sides) + 1;
            sum = sum.saturating_add(i64::try_from(side).unwrap_or_default());
        }
        sum
    }
}

/// The name of a macro and its argument, which follows a colon or a space.
fn split_name(content: &str) -> (&str, Option<&str>) {
    // Without a bound, the names of many long macros within each other would be looked for again and again.
    let head = content.get(..content.floor_char_boundary(MAX_NAME)).unwrap_or_default();
    let split = head.find(|c: char| c == ':' || c.is_whitespace());
    let Some(at) = split else { return (head, None) };
    let (name, rest) = content.split_at(at);
    match rest.strip_prefix(':') {
        Some(argument) => (name, Some(argument)),
        None => match rest.trim_start() {
            "" => (name, None),
            rest => match rest.strip_prefix(':') {
                // A colon may have a space before it.
                Some(argument) => (name, Some(argument)),
                None => (name, Some(rest)),
            },
        },
    }
}

/// The dice of `{{roll:2d6+1}}`.
#[derive(Clone, Copy)]
struct Dice {
    count: u64,
    sides: u64,
    plus: i64,
}

impl Dice {
    /// Reads `6`, `d6`, `2d6`, `2d6+1`, `2 d 6 + 1`.
    fn parse(text: &str) -> Option<Self> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let text = text.trim_start_matches(':').to_ascii_lowercase();
        let (dice, plus) = match text.find(['+', '-']) {
            Some(at) => (text.get(..at)?, text.get(at..)?.parse::<i32>().ok()?),
            None => (text.as_str(), 0),
        };
        let (count, sides) = match dice.split_once('d') {
            Some(("", sides)) => (1, sides.parse().ok()?),
            Some((count, sides)) => (count.parse().ok()?, sides.parse().ok()?),
            None => (1, dice.parse().ok()?),
        };
        let is_possible = (1..=MAX_DICE).contains(&count) && (1..=MAX_SIDES).contains(&sides);
        is_possible.then_some(Self { count, sides, plus: plus.into() })
    }
}

fn run_length(text: &str, brace: u8) -> usize {
    text.bytes().take_while(|byte| *byte == brace).count()
}

#[cfg(test)]
mod tests;
