//! [`PluginState`]. The row of a key is kept for a day after its value is gone (see the sweep), so that versions go on
//! rising.

use async_trait::async_trait;
use masque_store::{
    PluginState, StateConflict, StateFence, StateKey, StateResult, StateSpace, StateValue, StateWrite,
    StateWritten, StoreError, columns,
};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::columns::unsigned;
use crate::error::{DatabaseError, Result as DatabaseResult};
use crate::state_arguments::{bind_writes, check_tenant, named, scope_conversation, scope_user, scope_word};
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// The space of the arguments $1 to $6 as `space`, with its owner and account. No row for a conversation that does not
/// exist, so that the state of a deleted one does not come back, and for a user without any stored data.
macro_rules! in_space {
    ($rest:literal) => {
        concat!(
            "WITH space AS (
                SELECT u.id AS owner, u.id AS account FROM users u
                 WHERE $3 = 'user' AND u.tenant = $1 AND u.issuer = $4 AND u.subject = $5
                 UNION ALL
                SELECT c.id, c.user_id FROM conversations c JOIN users u ON u.id = c.user_id
                 WHERE $3 = 'conversation' AND c.id = $6 AND u.tenant = $1 AND c.deleted_at IS NULL
                 UNION ALL
                SELECT '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000000'
                 WHERE $3 = 'shared') ",
            $rest
        )
    };
}

/// A statement with the arguments that [`in_space!`] names.
fn of_space(sql: &'static str, space: &StateSpace) -> Result<Statement, StoreError> {
    check_tenant(&space.tenant, &space.scope)?;
    let user = scope_user(&space.scope);
    Ok(Statement::new(sql)
        .bind(&*space.tenant)
        .bind(&*space.plugin)
        .bind(scope_word(&space.scope))
        .bind(user.map(|user| &*user.issuer))
        .bind(user.map(|user| &*user.subject))
        .bind(scope_conversation(&space.scope)))
}

#[async_trait]
impl PluginState for PostgresStore {
    async fn state_get(&self, key: &StateKey) -> Result<Option<StateValue>, StoreError> {
        let sql = in_space!(
            "SELECT s.value, s.version FROM space JOIN state s ON s.owner = space.owner
              WHERE s.tenant = $1 AND s.plugin = $2 AND s.scope = $3 AND s.key = $7
                AND s.value IS NOT NULL AND (s.expires_at IS NULL OR s.expires_at > masque_now_v1())"
        );
        let statement = of_space(sql, &key.space)?.bind(&*key.key);
        let value = |row: &PgRow| Ok(StateValue { value: get(row, 0)?, version: unsigned(get(row, 1)?)? });
        self.read_first(statement, value).await
    }

    async fn state_write(
        &self,
        fence: Option<StateFence>,
        writes: Vec<StateWrite>,
    ) -> Result<Result<Vec<StateWritten>, StateConflict>, StoreError> {
        let (turn, job, epoch) = match fence {
            Some(StateFence::Turn { turn, epoch }) => (Some(turn.as_uuid()), None, epoch),
            Some(StateFence::Job { job, epoch }) => (None, Some(job.as_uuid()), epoch),
            None => (None::<Uuid>, None::<Uuid>, 0),
        };
        let statement = Statement::new(
            "SELECT * FROM masque_write_state_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
                                                 $17)",
        )
        .bind(turn)
        .bind(job)
        .bind(epoch);
        match self.write(bind_writes(statement, &writes)?).await {
            Ok(rows) => {
                let results = rows.iter().map(written).collect::<DatabaseResult<_>>();
                results.map(Ok).map_err(DatabaseError::of_read)
            }
            Err(error) => match named(error, &writes) {
                StoreError::Conflict(conflict) => Ok(Err(conflict)),
                error => Err(error),
            },
        }
    }

    async fn state_bytes(&self, space: &StateSpace) -> Result<u64, StoreError> {
        let sql = in_space!(
            "SELECT s.bytes FROM space JOIN state_totals s ON s.account = space.account
              WHERE s.tenant = $1 AND s.plugin = $2"
        );
        let bytes = self.read_first(of_space(sql, space)?, |row| unsigned(get(row, 0)?)).await?;
        Ok(bytes.unwrap_or_default())
    }

    async fn state_list(
        &self,
        space: &StateSpace,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let sql = in_space!(
            "SELECT s.key FROM space JOIN state s ON s.owner = space.owner
              WHERE s.tenant = $1 AND s.plugin = $2 AND s.scope = $3
                AND s.key >= $7 AND ($8::text IS NULL OR s.key < $8) AND ($9::text IS NULL OR s.key > $9)
                AND s.value IS NOT NULL AND (s.expires_at IS NULL OR s.expires_at > masque_now_v1())
              ORDER BY s.key LIMIT $10"
        );
        let statement = of_space(sql, space)?
            .bind(prefix.max(after.unwrap_or_default()))
            .bind(columns::end_of_prefix(prefix))
            .bind(after)
            .bind(i64::from(limit));
        self.read_all(statement, |row| get(row, 0)).await
    }
}

fn written(row: &PgRow) -> DatabaseResult<StateWritten> {
    let result = match get::<&str, _>(row, 0)? {
        "version" => StateResult::Version(unsigned(get(row, 1)?)?),
        "sum" => StateResult::Sum(get(row, 1)?),
        "deleted" => StateResult::Deleted,
        other => return Err(StoreError::Corrupt(format!("`{other}` is no result of a write")).into()),
    };
    let stored_bytes = get::<Option<i64>, _>(row, 2)?.map(unsigned).transpose()?;
    Ok(StateWritten { result, stored_bytes })
}
