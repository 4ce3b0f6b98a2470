//! Rows of any table, written and read by the lists of `masque-store`. Statements are made from names of these lists alone.

use futures::TryStreamExt as _;
use masque_store::StoreError;
use masque_store::transfer::{ColumnKind, TABLES, Table, TableDigest, TableRow, TableValue};
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{Arguments, AssertSqlSafe, query_with};
use uuid::Uuid;

use crate::error::Result;
use crate::statement::get;

/// Inserts rows, numbers included.
pub(crate) async fn insert(connection: &mut PgConnection, table: &Table, rows: &[TableRow]) -> Result<()> {
    let names = names_of(table);
    let sql = format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}",
        table.name,
        names.join(", "),
        values_of(table).join(", "),
        unnested(table),
    );
    query_with(AssertSqlSafe(sql), arguments(table, rows)?).execute(connection).await?;
    Ok(())
}

/// Gives the one row of a table these values.
pub(crate) async fn update(connection: &mut PgConnection, table: &Table, rows: &[TableRow]) -> Result<()> {
    let set: Vec<_> = names_of(table)
        .iter()
        .zip(values_of(table))
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    let sql = format!("UPDATE {} SET {} FROM {}", table.name, set.join(", "), unnested(table));
    query_with(AssertSqlSafe(sql), arguments(table, rows)?).execute(connection).await?;
    Ok(())
}

/// Reads all rows of a table, one at a time.
pub(crate) async fn digest_of(connection: &mut PgConnection, table: &'static Table) -> Result<TableDigest> {
    let read = table.columns.iter().map(|(name, kind)| match kind {
        ColumnKind::Texts => format!("to_json(\"{name}\")::text"),
        _ => format!("\"{name}\""),
    });
    let order: Vec<_> = table.order.iter().map(|name| format!("\"{name}\"")).collect();
    let sql = format!(
        "SELECT {} FROM {} ORDER BY {}",
        read.collect::<Vec<_>>().join(", "),
        table.name,
        order.join(", ")
    );
    let mut digest = TableDigest::new(table);
    let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let values = table.columns.iter().enumerate().map(|(index, (_, kind))| value(&row, index, *kind));
        digest.add(&values.collect::<Result<_>>()?)?;
    }
    Ok(digest)
}

/// Lets new numbers begin after those that were inserted.
pub(crate) async fn restart_numbers(connection: &mut PgConnection) -> Result<()> {
    for table in TABLES.iter().filter(|table| table.columns.iter().any(|(name, _)| *name == "number")) {
        let name = table.name;
        let sql = format!(
            "SELECT setval(pg_get_serial_sequence('{name}', 'number'), greatest(max(number), 1),
                           coalesce(max(number) >= 1, false))
               FROM {name}"
        );
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    }
    Ok(())
}

fn names_of(table: &Table) -> Vec<String> {
    table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect()
}

/// The columns of the arguments as values of the table.
fn values_of(table: &Table) -> Vec<String> {
    let value = |(name, kind): &(&str, ColumnKind)| match kind {
        ColumnKind::Texts => format!(
            "CASE WHEN r.\"{name}\" IS NOT NULL
                  THEN ARRAY(SELECT jsonb_array_elements_text(r.\"{name}\"::jsonb)) END"
        ),
        _ => format!("r.\"{name}\""),
    };
    table.columns.iter().map(value).collect()
}

fn unnested(table: &Table) -> String {
    let types = table.columns.iter().enumerate().map(|(index, (_, kind))| {
        let kind = match kind {
            ColumnKind::Id | ColumnKind::Owner => "uuid",
            ColumnKind::Text | ColumnKind::Texts => "text",
            ColumnKind::Integer => "bigint",
            ColumnKind::Flag => "boolean",
            ColumnKind::Bytes => "bytea",
        };
        format!("${}::{kind}[]", index + 1)
    });
    format!("unnest({}) AS r({})", types.collect::<Vec<_>>().join(", "), names_of(table).join(", "))
}

/// One array for each column.
fn arguments(table: &Table, rows: &[TableRow]) -> Result<PgArguments> {
    let mut arguments = PgArguments::default();
    for (index, (_, kind)) in table.columns.iter().enumerate() {
        let column = || rows.iter().map(move |row| row.get(index));
        let added = match kind {
            ColumnKind::Id | ColumnKind::Owner => arguments.add(
                column()
                    .map(|value| bytes(value).map(Uuid::from_slice).transpose())
                    .collect::<std::result::Result<Vec<_>, _>>()
                    .map_err(|error| StoreError::Corrupt(format!("an id of `{}`: {error}", table.name)))?,
            ),
            ColumnKind::Bytes => arguments.add(column().map(bytes).collect::<Vec<_>>()),
            ColumnKind::Text | ColumnKind::Texts => arguments.add(column().map(text).collect::<Vec<_>>()),
            ColumnKind::Integer => arguments.add(column().map(integer).collect::<Vec<_>>()),
            ColumnKind::Flag => {
                arguments.add(column().map(|value| integer(value).map(|flag| flag != 0)).collect::<Vec<_>>())
            }
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn bytes(value: Option<&TableValue>) -> Option<&[u8]> {
    if let Some(TableValue::Bytes(bytes)) = value { Some(bytes) } else { None }
}

fn text(value: Option<&TableValue>) -> Option<&str> {
    if let Some(TableValue::Text(text)) = value { Some(text) } else { None }
}

fn integer(value: Option<&TableValue>) -> Option<i64> {
    if let Some(TableValue::Integer(number)) = value { Some(*number) } else { None }
}

fn value(row: &PgRow, index: usize, kind: ColumnKind) -> Result<TableValue> {
    let found = match kind {
        ColumnKind::Id | ColumnKind::Owner => {
            get::<Option<Uuid>, _>(row, index)?.map(|id| TableValue::Bytes(id.into_bytes().to_vec()))
        }
        ColumnKind::Text | ColumnKind::Texts => get::<Option<String>, _>(row, index)?.map(TableValue::Text),
        ColumnKind::Integer => get::<Option<i64>, _>(row, index)?.map(TableValue::Integer),
        ColumnKind::Flag => {
            get::<Option<bool>, _>(row, index)?.map(|flag| TableValue::Integer(i64::from(flag)))
        }
        ColumnKind::Bytes => get::<Option<Vec<u8>>, _>(row, index)?.map(TableValue::Bytes),
    };
    Ok(found.unwrap_or(TableValue::Null))
}
