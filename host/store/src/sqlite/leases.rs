//! Leases over time: renewing them, ending turns that lost theirs, and clearing away what is past its time.

use std::time::Duration;

use sqlx::sqlite::SqliteQueryResult;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::fault::Fault;
use super::rows::{millis, now};
use super::spending::day;
use super::writer::{Operation, Session, Verdict};
use crate::TurnId;

/// Rows of one kind that a sweep removes in one transaction: turns wait for it.
const SWEEP: i64 = 256;

/// How long a deleted or expired key of a plugin keeps its version, in milliseconds: longer than any call that could
/// have read it.
const REMEMBERED: i64 = 24 * 60 * 60 * 1000;

/// The turn with this id lost its lease: no one can end it any more.
pub(super) async fn end(connection: &mut SqliteConnection, turn: TurnId) -> Result<(), Fault> {
    sqlx::query(concat!(
        "UPDATE turns SET status = 'interrupted', epoch = NULL, finish = 'interrupted', ended_at = ",
        now!(),
        "
          WHERE id = ?1 AND status = 'running'"
    ))
    .bind(turn.as_uuid())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE messages SET status = 'interrupted'
          WHERE id = (SELECT message FROM turns WHERE id = ?1) AND status = 'running'",
    )
    .bind(turn.as_uuid())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) struct Renew {
    pub(super) host: Uuid,
    /// From [`super::rows::ids_text`].
    pub(super) turns: String,
    pub(super) lease: Duration,
}

impl Operation for Renew {
    type Answer = Vec<TurnId>;

    async fn run(self, session: Session<'_>) -> Result<Verdict<Self::Answer>, Fault> {
        let connection = session.open().await?;
        let rows = sqlx::query(concat!(
            "UPDATE conversations SET lease_ends = ",
            now!(),
            " + ?2
              WHERE lease_host = ?1 AND lease_ends > 0
                AND lease_turn IN (SELECT unhex(value) FROM json_each(?3))
             RETURNING lease_turn"
        ))
        .bind(self.host)
        .bind(millis(self.lease))
        .bind(self.turns)
        .fetch_all(connection)
        .await?;
        let turns = rows.iter().map(|row| Ok(TurnId::from(row.try_get::<Uuid, _>(0)?)));
        Ok(Verdict::Keep(turns.collect::<Result<_, Fault>>()?))
    }
}

pub(super) struct Recover {
    pub(super) host: Uuid,
}

impl Recover {
    pub(super) async fn apply(&self, connection: &mut SqliteConnection) -> Result<u64, Fault> {
        let rows = sqlx::query(concat!(
            "SELECT id, lease_turn FROM conversations
              WHERE lease_ends > 0 AND (lease_host <> ?1 OR lease_ends <= ",
            now!(),
            ")"
        ))
        .bind(self.host)
        .fetch_all(&mut *connection)
        .await?;
        for row in &rows {
            end(connection, TurnId::from(row.try_get::<Uuid, _>(1)?)).await?;
            sqlx::query(
                "UPDATE conversations SET lease_turn = NULL, lease_host = NULL, lease_ends = NULL WHERE id = ?1",
            )
            .bind(row.try_get::<Uuid, _>(0)?)
            .execute(&mut *connection)
            .await?;
        }
        sqlx::query(concat!(
            "UPDATE jobs SET status = 'queued', host = NULL, due_at = ",
            now!(),
            "
              WHERE status = 'running' AND host <> ?1"
        ))
        .bind(self.host)
        .execute(connection)
        .await?;
        Ok(rows.len() as u64)
    }
}

impl Operation for Recover {
    type Answer = u64;

    async fn run(self, session: Session<'_>) -> Result<Verdict<u64>, Fault> {
        let connection = session.open().await?;
        Ok(Verdict::Keep(self.apply(connection).await?))
    }
}

/// Days of spending that are kept, so that a year can be told.
const DAYS: i64 = 400;

pub(super) struct Sweep;

impl Operation for Sweep {
    type Answer = u64;

    async fn run(self, session: Session<'_>) -> Result<Verdict<u64>, Fault> {
        let connection = session.open().await?;
        let keys = sqlx::query(concat!(
            "DELETE FROM idempotency WHERE (tenant, issuer, subject, route, key) IN
                (SELECT tenant, issuer, subject, route, key FROM idempotency WHERE expires_at <= ",
            now!(),
            " LIMIT ?1)"
        ))
        .bind(SWEEP)
        .execute(&mut *connection)
        .await?;
        let values = sqlx::query(concat!(
            "UPDATE state SET value = NULL WHERE rowid IN
                (SELECT rowid FROM state WHERE absent = 0 AND expires_at > 0 AND expires_at <= ",
            now!(),
            " LIMIT ?1)"
        ))
        .bind(SWEEP)
        .execute(&mut *connection)
        .await?;
        let gone = sqlx::query(concat!(
            "DELETE FROM state WHERE rowid IN
                (SELECT rowid FROM state WHERE absent = 1 AND expires_at > 0 AND expires_at <= ",
            now!(),
            " - ?2 LIMIT ?1)"
        ))
        .bind(SWEEP)
        .bind(REMEMBERED)
        .execute(&mut *connection)
        .await?;
        let revocations = sqlx::query(concat!(
            "DELETE FROM revocations WHERE (issuer, kind, name, tenant) IN
                (SELECT issuer, kind, name, tenant FROM revocations WHERE expires_at <= ",
            now!(),
            " LIMIT ?1)"
        ))
        .bind(SWEEP)
        .execute(&mut *connection)
        .await?;
        let days = sqlx::query(concat!(
            "DELETE FROM spending WHERE (account, day) IN
                (SELECT account, day FROM spending WHERE day < ",
            now!(),
            " / ",
            day!(),
            " - ?2 LIMIT ?1)"
        ))
        .bind(SWEEP)
        .bind(DAYS)
        .execute(connection)
        .await?;
        let swept = [keys, values, gone, revocations, days];
        Ok(Verdict::Keep(swept.iter().map(SqliteQueryResult::rows_affected).sum()))
    }
}
