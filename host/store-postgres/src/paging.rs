//! Pages of lists: limits and cursors.

use masque_store::{Page, Paged, StoreError};

/// How many items a page has. One row more is read to find out whether there is a next page.
pub(crate) fn limit(page: &Page) -> usize {
    page.limit.clamp(1, 1000) as usize
}

/// How many rows are read for a page.
pub(crate) fn rows(page: &Page) -> i64 {
    i64::from(page.limit.clamp(1, 1000)) + 1
}

/// The number in a cursor; `first` for the first page.
pub(crate) fn number_after(page: &Page, first: i64) -> Result<i64, StoreError> {
    match &page.after {
        Some(cursor) => cursor.parse::<i64>().map_err(|_| invalid_cursor(cursor)),
        None => Ok(first),
    }
}

pub(crate) fn invalid_cursor(cursor: &str) -> StoreError {
    StoreError::Refused(format!("`{cursor}` is not a cursor of this list"))
}

/// Cuts a page to its size. If there were more items, `next` is the cursor of the last one that is kept.
pub(crate) fn paged<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Paged<T> {
    let has_more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| has_more).map(cursor);
    Paged { items, next }
}

/// The same for rows that have a number as their cursor.
pub(crate) fn numbered<T>(items: Vec<(T, i64)>, limit: usize) -> Paged<T> {
    let Paged { items, next } = paged(items, limit, |(_, number)| number.to_string());
    Paged { items: items.into_iter().map(|(item, _)| item).collect(), next }
}
