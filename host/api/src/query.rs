//! The query parameters of lists: `limit` and `after`. Any other parameter is refused.

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use masque_http::nearest_name;
use masque_store::{Page, StoreError};

use super::state::App;
use masque_auth::store_problem;
use masque_problem::{Kind, Problem};

const DEFAULT: u32 = 50;
const MOST: u32 = 200;
const KNOWN: [&str; 2] = ["limit", "after"];

/// The page of a list that the caller asks for.
pub(crate) struct PageQuery(pub(crate) Page);

impl FromRequestParts<App> for PageQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Problem> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri).map_err(|_| {
            Problem::new(Kind::InvalidRequest, "The query can't be read; encode it as name=value pairs.")
        })?;
        page(&pairs.0).map(Self)
    }
}

fn page(pairs: &[(String, String)]) -> Result<Page, Problem> {
    let mut page = Page { limit: DEFAULT, after: None };
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in pairs {
        if seen.contains(&name.as_str()) {
            return Err(invalid(name, format!("`{name}` comes twice.")));
        }
        seen.push(name);
        match name.as_str() {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                page.limit =
                    limit.ok_or_else(|| invalid(name, format!("`limit` is a number from 1 to {MOST}.")))?;
            }
            "after" => page.after = Some(value.clone()),
            unknown => return Err(unknown_parameter(unknown)),
        }
    }
    Ok(page)
}

/// Converts an error of a list operation. The store refuses a list only for an `after` that it never returned.
pub(crate) fn cursor(error: StoreError) -> Problem {
    match error {
        StoreError::Refused(_) => {
            invalid("after", "`after` is the `next` of the part before, unchanged.".to_owned())
        }
        other => store_problem(other),
    }
}

fn invalid(field: &str, detail: String) -> Problem {
    Problem::new(Kind::InvalidRequest, detail).with("field", field)
}

fn unknown_parameter(name: &str) -> Problem {
    match nearest_name(name, KNOWN) {
        Some(guess) => {
            Problem::new(Kind::UnknownField, format!("`{name}` is not known; did you mean `{guess}`?"))
                .with("nearest", guess)
        }
        None => Problem::new(
            Kind::UnknownField,
            format!("`{name}` is not known; lists take `limit` and `after`."),
        ),
    }
    .with("field", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_page_or_says_what_is_wrong_with_it() {
        type Case<'a> = (&'a [(&'a str, &'a str)], Result<Page, Kind>);
        let cases: [Case<'_>; 8] = [
            (&[], Ok(Page { limit: 50, after: None })),
            (&[("limit", "1"), ("after", "x")], Ok(Page { limit: 1, after: Some("x".into()) })),
            (&[("limit", "200")], Ok(Page { limit: 200, after: None })),
            (&[("limit", "0")], Err(Kind::InvalidRequest)),
            (&[("limit", "201")], Err(Kind::InvalidRequest)),
            (&[("limit", "many")], Err(Kind::InvalidRequest)),
            (&[("limit", "1"), ("limit", "2")], Err(Kind::InvalidRequest)),
            (&[("limt", "1")], Err(Kind::UnknownField)),
        ];
        for (pairs, expected) in cases {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            assert_eq!(page(&pairs).map_err(|problem| problem.kind), expected, "{pairs:?}");
        }
    }
}
