//! A statement with its arguments, and reading its rows.

use masque_store::StoreError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, ColumnIndex, Decode, Encode, Postgres, Row, Type};

use crate::error::{DatabaseError, Result};

/// A statement that is prepared under its text, so every text is a constant. It owns its arguments: a task can run it
/// after its caller is gone, and more than once.
#[derive(Clone)]
pub(crate) struct Statement {
    sql: &'static str,
    arguments: PgArguments,
    /// Why it can't run.
    failure: Option<StoreError>,
}

impl Statement {
    /// A statement without arguments yet.
    pub(crate) fn new(sql: &'static str) -> Self {
        Self { sql, arguments: PgArguments::default(), failure: None }
    }

    /// Adds the next argument. What can't be encoded makes the statement fail when it is to run.
    pub(crate) fn bind<'t>(mut self, value: impl Encode<'t, Postgres> + Type<Postgres>) -> Self {
        if let Err(error) = self.arguments.add(value) {
            self.failure.get_or_insert(DatabaseError::from(sqlx::Error::Encode(error)).of_read());
        }
        self
    }

    /// The text and the arguments.
    pub(crate) fn into_parts(self) -> Result<(&'static str, PgArguments)> {
        match self.failure {
            None => Ok((self.sql, self.arguments)),
            Some(error) => Err(error.into()),
        }
    }
}

/// The value of a column.
pub(crate) fn get<'r, T, I>(row: &'r PgRow, column: I) -> Result<T>
where
    T: Decode<'r, Postgres> + Type<Postgres>,
    I: ColumnIndex<PgRow>,
{
    Ok(row.try_get(column)?)
}
