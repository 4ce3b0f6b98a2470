//! The bounds of a page of an export, and where it begins.

use masque_store::{ExportItem, MAX_PAGE_BYTES, Paged, decode_cursor, encode_cursor};
use rusqlite::{Connection, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;

/// The most items of a page.
const ITEMS: usize = 200;

/// The place after which a page begins.
pub(crate) fn place<T: DeserializeOwned>(after: Option<&str>, first: T) -> Result<T> {
    Ok(decode_cursor(after)?.unwrap_or(first))
}

/// Reads rows up to the bounds of a page. `convert` gives the item, its place and about how many bytes it takes.
pub(crate) fn bounded<P: Serialize>(
    connection: &Connection,
    sql: &'static str,
    params: impl Params,
    convert: impl Fn(&Row<'_>) -> Result<(ExportItem, P, usize)>,
) -> Result<Paged<ExportItem>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let (mut items, mut bytes, mut last) = (Vec::new(), 0_usize, None);
    while let Some(row) = rows.next()? {
        if items.len() >= ITEMS || bytes >= MAX_PAGE_BYTES {
            return Ok(Paged { items, next: last.as_ref().map(encode_cursor) });
        }
        let (item, place, size) = convert(row)?;
        bytes = bytes.saturating_add(size);
        items.push(item);
        last = Some(place);
    }
    Ok(Paged { items, next: None })
}
