//! Finds paths in the tokens of a macro, which have no syntax tree.

use std::iter::Peekable;

use proc_macro2::{Delimiter, TokenStream, TokenTree, token_stream};

use super::use_paths::{line, text};

/// A path found in tokens.
#[derive(Debug)]
pub(crate) struct TokenPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

type Tokens = Peekable<token_stream::IntoIter>;

/// The paths in the tokens, in order. A single lower-case name counts only where it is called: it may be a variable or
/// the name of a field.
pub(crate) fn paths(tokens: TokenStream) -> Vec<TokenPath> {
    let mut found = Vec::new();
    scan(tokens, &[], &mut found);
    found.retain(|path| !path.segments.is_empty());
    found
}

fn scan(tokens: TokenStream, prefix: &[String], found: &mut Vec<TokenPath>) {
    let mut tokens = tokens.into_iter().peekable();
    let mut before = ' ';
    while let Some(token) = tokens.next() {
        let last = std::mem::replace(&mut before, ' ');
        match token {
            TokenTree::Group(group) => scan(group.stream(), &[], found),
            TokenTree::Punct(punct) => {
                let is_path_separator = punct.as_char() == ':' && last == ':';
                before = if is_path_separator { ';' } else { punct.as_char() };
            }
            TokenTree::Ident(ident) if ident == "as" => {
                // In a group of imports, the new name is no path.
                if !prefix.is_empty() {
                    tokens.next();
                }
            }
            TokenTree::Ident(ident) => {
                let start = found.len();
                let mut segments = prefix.to_vec();
                segments.push(text(&ident));
                let ends = finish(&mut tokens, &mut segments, found);
                // Behind `.`, `'`, `$` and `::` stand fields, lifetimes, parameters of a macro and the rest of a path
                // with generic arguments or of another crate.
                let is_no_path = matches!(last, '.' | '\'' | ';') || (last == '$' && ident != "crate");
                if is_no_path {
                    found.truncate(start);
                } else if ends && counts(&segments, prefix, &mut tokens) {
                    found.push(TokenPath { segments, line: line(&ident) });
                }
            }
            TokenTree::Literal(_) => {}
        }
    }
}

/// Reads the rest of a path behind its first name. Returns whether the path ends with a name, not with a group of
/// paths or a glob.
fn finish(tokens: &mut Tokens, segments: &mut Vec<String>, found: &mut Vec<TokenPath>) -> bool {
    loop {
        let mut ahead = tokens.clone();
        if !(is_colon(ahead.next()) && is_colon(ahead.next())) {
            return true;
        }
        match ahead.next() {
            Some(TokenTree::Ident(ident)) => segments.push(text(&ident)),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                scan(group.stream(), segments, found);
                *tokens = ahead;
                return false;
            }
            // Generic arguments: they are scanned next.
            _ => return true,
        }
        *tokens = ahead;
    }
}

fn counts(segments: &[String], prefix: &[String], tokens: &mut Tokens) -> bool {
    if segments.len() > 1 || !prefix.is_empty() {
        return true;
    }
    let is_lower = segments.iter().any(|name| name.starts_with(|first: char| !first.is_uppercase()));
    match tokens.peek() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => true,
        // The name of a field or of an argument.
        Some(TokenTree::Punct(punct)) if matches!(punct.as_char(), ':' | '=') => false,
        _ => !is_lower,
    }
}

fn is_colon(token: Option<TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':')
}
