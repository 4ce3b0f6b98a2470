//! The bounds of a page of an export, and where it begins.

use masque_store::{ExportItem, Owner, Paged, StoreError, decode_cursor, encode_cursor};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;

use crate::error::Result;
use crate::statement::Statement;
use crate::store::PostgresStore;

/// The most items of a page of items that can take a megabyte each, since a page is read whole.
pub(crate) const LONG_ITEMS: i64 = 16;

pub(crate) type Page = std::result::Result<Paged<ExportItem>, StoreError>;

/// The place after which a page begins.
pub(crate) fn place<T: DeserializeOwned>(
    after: Option<&str>,
    first: T,
) -> std::result::Result<T, StoreError> {
    Ok(decode_cursor(after)?.unwrap_or(first))
}

/// A statement whose first three arguments name a user.
pub(crate) fn of(sql: &'static str, owner: &Owner) -> Statement {
    Statement::new(sql).bind(&*owner.tenant).bind(&*owner.issuer).bind(&*owner.subject)
}

/// Reads the rows of a page: there is a next one if there are as many as it can have. `convert` gives the item and its place.
pub(crate) async fn read<P: Serialize>(
    store: &PostgresStore,
    statement: Statement,
    limit: i64,
    convert: impl Fn(&PgRow) -> Result<(ExportItem, P)>,
) -> Page {
    let rows = store.read_all(statement.bind(limit), convert).await?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count >= limit);
    let next = rows.last().filter(|_| is_full).map(|(_, place)| encode_cursor(place));
    Ok(Paged { items: rows.into_iter().map(|(item, _)| item).collect(), next })
}
