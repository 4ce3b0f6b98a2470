//! Pages of lists as databases read them: limits and cursors. For the implementations of [`Store`](crate::Store).

use crate::error::StoreError;
use crate::page::{Page, Paged};

/// How many items a page has. One row more is read to find out whether there is a next page.
pub fn limit(page: &Page) -> usize {
    page.limit.clamp(1, 1000) as usize
}

/// How many rows are read for a page.
pub fn rows(page: &Page) -> i64 {
    i64::from(page.limit.clamp(1, 1000)) + 1
}

/// The number in a cursor; `first` for the first page.
///
/// # Errors
/// [`StoreError::Refused`] if it is no cursor of such a list.
pub fn number_after(page: &Page, first: i64) -> Result<i64, StoreError> {
    match &page.after {
        Some(cursor) => cursor.parse::<i64>().map_err(|_| invalid_cursor(cursor)),
        None => Ok(first),
    }
}

/// The error of a cursor that is none of the list.
pub fn invalid_cursor(cursor: &str) -> StoreError {
    StoreError::Refused(format!("`{cursor}` is not a cursor of this list"))
}

/// Cuts a page to its size. If there were more items, `next` is the cursor of the last one that is kept.
pub fn paged<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Paged<T> {
    let has_more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| has_more).map(cursor);
    Paged { items, next }
}

/// The same for rows that have a number as their cursor.
pub fn numbered<T>(items: Vec<(T, i64)>, limit: usize) -> Paged<T> {
    let Paged { items, next } = paged(items, limit, |(_, number)| number.to_string());
    Paged { items: items.into_iter().map(|(item, _)| item).collect(), next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_one_row_more_than_it_shows_has_a_next_one() {
        let rows = |count| (0..count).map(|number| (number, number)).collect::<Vec<(i64, i64)>>();
        assert_eq!(numbered(rows(3), 2), Paged { items: vec![0, 1], next: Some("1".into()) });
        assert_eq!(numbered(rows(2), 2), Paged { items: vec![0, 1], next: None });
        for (asked, shown) in [(0, 1), (50, 50), (5000, 1000)] {
            let page = Page { limit: asked, after: None };
            assert_eq!((limit(&page), rows_of(&page)), (shown, shown as i64 + 1));
        }
    }

    fn rows_of(page: &Page) -> i64 {
        super::rows(page)
    }
}
