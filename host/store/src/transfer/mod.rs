//! Moving everything from one database into another: which tables and columns there are, rows without SQL, and a digest over
//! the rows of a table that is the same in every database.
//!
//! The lists are closed. A test of each database compares them with its schema, so a new table or column is either moved or
//! named here as left out.

use sha2::{Digest, Sha256};

use crate::error::StoreError;

mod table;
mod tables;

pub use table::{ColumnKind, Moved, Table};
pub use tables::{LEFT_OUT, TABLES};

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableValue {
    /// None.
    Null,
    /// Of the kinds [`ColumnKind::Integer`] and [`ColumnKind::Flag`].
    Integer(i64),
    /// Of the kinds [`ColumnKind::Text`] and [`ColumnKind::Texts`].
    Text(String),
    /// Of the kinds [`ColumnKind::Id`], [`ColumnKind::Owner`] and [`ColumnKind::Bytes`].
    Bytes(Vec<u8>),
}

impl TableValue {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) => size_of::<Self>(),
            Self::Text(text) => size_of::<Self>() + text.len(),
            Self::Bytes(bytes) => size_of::<Self>() + bytes.len(),
        }
    }
}

/// The values of a row, in the order of [`Table::columns`].
pub type TableRow = Vec<TableValue>;

/// A database whose rows can be read.
pub trait TransferSource: Send {
    /// Hands each row of a table to `each`, in the order of [`Table::order`], until `each` returns false. Blocks.
    ///
    /// # Errors
    /// The rows can't be read.
    fn read(
        &mut self,
        table: &'static Table,
        each: &mut dyn FnMut(TableRow) -> bool,
    ) -> Result<(), StoreError>;
}

/// A digest over the rows of a table, added in their order.
#[derive(Clone)]
pub struct TableDigest {
    table: &'static Table,
    hash: Sha256,
    rows: u64,
}

impl TableDigest {
    /// Of no row yet.
    pub fn new(table: &'static Table) -> Self {
        Self { table, hash: Sha256::new(), rows: 0 }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a list of texts is none.
    pub fn add(&mut self, row: &TableRow) -> Result<(), StoreError> {
        self.rows += 1;
        for ((name, kind), value) in self.table.columns.iter().zip(row) {
            match value {
                TableValue::Null => self.hash.update([0]),
                TableValue::Integer(number) => {
                    self.hash.update([1]);
                    self.hash.update(number.to_be_bytes());
                }
                TableValue::Text(text) if *kind == ColumnKind::Texts => {
                    // Databases write JSON with other spaces.
                    let texts: Vec<String> = serde_json::from_str(text).map_err(|error| {
                        StoreError::Corrupt(format!("`{name}` of `{}`: {error}", self.table.name))
                    })?;
                    self.bytes(3, &(texts.len() as u64).to_be_bytes());
                    texts.iter().for_each(|text| self.bytes(2, text.as_bytes()));
                }
                TableValue::Text(text) => self.bytes(2, text.as_bytes()),
                TableValue::Bytes(bytes) => self.bytes(4, bytes),
            }
        }
        Ok(())
    }

    fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        self.hash.update([tag]);
        self.hash.update((bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
    }

    /// The table.
    pub fn table(&self) -> &'static Table {
        self.table
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest: equal for equal rows in the same order.
    pub fn finish(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}

impl std::fmt::Debug for TableDigest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TableDigest")
            .field("table", &self.table.name)
            .field("rows", &self.rows)
            .finish()
    }
}

/// What is wrong with the lists above for a database whose tables have these columns, those that it computes left out: a
/// table or column that is neither moved nor left out, or one that is listed and not there.
pub fn list_differences(found: &[(String, String)]) -> Vec<String> {
    let is_left_out = |name: &str| LEFT_OUT.iter().any(|(left_out, _reason)| *left_out == name);
    let is_listed = |table: &str, column: &str| {
        TABLES
            .iter()
            .any(|listed| listed.name == table && listed.columns.iter().any(|(name, _)| *name == column))
    };
    let unlisted = found
        .iter()
        .filter(|(table, column)| !is_left_out(table) && !is_left_out(&format!("{table}.{column}")))
        .filter(|(table, column)| !is_listed(table, column))
        .map(|(table, column)| format!("{table}.{column} is neither moved nor left out"));
    let columns =
        TABLES.iter().flat_map(|table| table.columns.iter().map(|(column, _)| (table.name, *column)));
    let missing = columns
        .filter(|(table, column)| !found.iter().any(|(name, other)| name == table && other == column))
        .map(|(table, column)| format!("{table}.{column} is not there"));
    unlisted.chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[TableRow]) -> [u8; 32] {
        let table = TABLES.iter().find(|table| table.name == "api_keys").unwrap();
        let mut digest = TableDigest::new(table);
        rows.iter().for_each(|row| digest.add(row).unwrap());
        digest.finish()
    }

    fn key(name: &str, hash: &[u8], scopes: &str) -> TableRow {
        let mut row = vec![TableValue::Null; 16];
        row[4] = TableValue::Text(name.into());
        row[5] = TableValue::Bytes(hash.into());
        row[8] = TableValue::Text(scopes.into());
        row
    }

    #[test]
    fn any_other_value_or_order_of_rows_gives_another_digest_and_spaces_in_lists_do_not() {
        let row = key("a", b"b", r#"["chat","admin:read"]"#);
        let same = key("a", b"b", r#"[ "chat", "admin:read" ]"#);
        assert_eq!(digest(std::slice::from_ref(&row)), digest(&[same]));
        for other in [
            key("ab", b"", r#"["chat","admin:read"]"#),
            key("a", b"c", r#"["chat","admin:read"]"#),
            key("a", b"b", r#"["admin:read","chat"]"#),
            key("a", b"b", r#"["chat"]"#),
        ] {
            assert_ne!(digest(std::slice::from_ref(&row)), digest(std::slice::from_ref(&other)));
            assert_ne!(digest(&[row.clone(), other.clone()]), digest(&[other, row.clone()]));
        }
    }

    #[test]
    fn a_column_that_is_added_to_a_schema_is_named_until_it_is_listed() {
        let mut found: Vec<(String, String)> = TABLES
            .iter()
            .flat_map(|table| {
                table.columns.iter().map(|(column, _)| (table.name.to_owned(), (*column).to_owned()))
            })
            .collect();
        assert_eq!(list_differences(&found), Vec::<String>::new());
        found.push(("hosts".into(), "name".into()));
        found.push(("turns".into(), "later".into()));
        found.retain(|(table, column)| table != "users" || column != "issuer");
        let differences = list_differences(&found);
        assert_eq!(differences, ["turns.later is neither moved nor left out", "users.issuer is not there"]);
    }

    #[test]
    fn rows_are_ordered_by_columns_of_their_table() {
        for table in TABLES {
            for name in table.order {
                assert!(table.columns.iter().any(|(column, _)| column == name), "{}.{name}", table.name);
            }
        }
    }
}
