//! Rows of erasures, and the installation's own row.

use masque_store::{ErasedName, ErasedRows, Erasure, Installation, StoreError};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::columns::unsigned;
use crate::error::Result;
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// The columns that [`erasure`] reads.
macro_rules! erasure_columns {
    () => {
        "id, user_id, name, begun_at, done_at, conversations, messages, turns, idempotency_keys, jobs, state_values,
         spending_days"
    };
}

fn erasure(row: &PgRow) -> Result<Erasure> {
    Ok(Erasure {
        receipt: get(row, 0)?,
        user: get(row, 1)?,
        name: get::<&str, _>(row, 2)?.parse::<ErasedName>()?,
        begun_at: get(row, 3)?,
        done_at: get(row, 4)?,
        rows: ErasedRows::from_columns(|column| unsigned(get(row, column)?))?,
    })
}

/// The identity of this installation.
pub(crate) async fn installation(store: &PostgresStore) -> std::result::Result<Installation, StoreError> {
    let statement = Statement::new("SELECT installation, erasure_key FROM masque");
    let found = store
        .read_first(statement, |row| Ok(Installation::new(get(row, 0)?, get::<&[u8], _>(row, 1)?)?))
        .await?;
    found.ok_or_else(|| StoreError::Corrupt("the installation has no row".into()))
}

/// An erasure by its receipt.
pub(crate) async fn load(
    store: &PostgresStore,
    receipt: Uuid,
) -> std::result::Result<Option<Erasure>, StoreError> {
    let statement =
        Statement::new(concat!("SELECT ", erasure_columns!(), " FROM erasures WHERE id = $1")).bind(receipt);
    store.read_first(statement, erasure).await
}

/// The erasure of a surrogate id.
pub(crate) async fn of_user(
    store: &PostgresStore,
    user: Uuid,
) -> std::result::Result<Option<Erasure>, StoreError> {
    let statement =
        Statement::new(concat!("SELECT ", erasure_columns!(), " FROM erasures WHERE user_id = $1"))
            .bind(user);
    store.read_first(statement, erasure).await
}

/// Erasures that are not complete, those that began first before others.
pub(crate) async fn running(store: &PostgresStore) -> std::result::Result<Vec<Erasure>, StoreError> {
    let statement = Statement::new(concat!(
        "SELECT ",
        erasure_columns!(),
        " FROM erasures WHERE done_at IS NULL ORDER BY begun_at"
    ));
    store.read_all(statement, erasure).await
}
