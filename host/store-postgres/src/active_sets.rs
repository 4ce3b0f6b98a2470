//! [`ActiveSets`]: what changes generations is a function of the schema, under the lock of one row.

use async_trait::async_trait;
use masque_store::{
    ActiveSets, COMPONENT_CHUNK_BYTES, CheckTexts as _, ComponentChunk, Decision, Generation,
    GenerationStatus, MAX_STORED_COMPONENT_BYTES, NewGeneration, Preparation, PublishOutcome, SetHost,
    SetState, StoreError,
};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::columns::{millis, signed, unsigned};
use crate::error::Result as DatabaseResult;
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// Generations that are kept: enough to see what happened last, and to go back.
const KEPT_GENERATIONS: i32 = 10;

#[async_trait]
impl ActiveSets for PostgresStore {
    async fn join_sets(&self, host: SetHost) -> Result<(), StoreError> {
        host.check_texts()?;
        let statement = Statement::new(
            "INSERT INTO set_hosts (host, name, joined_at) VALUES ($1, $2, masque_now_v1())
                 ON CONFLICT (host) DO UPDATE SET name = excluded.name, joined_at = excluded.joined_at",
        )
        .bind(host.id)
        .bind(host.name);
        self.write(statement).await.map(drop)
    }

    async fn leave_sets(&self, host: Uuid) -> Result<(), StoreError> {
        self.write(Statement::new("DELETE FROM set_hosts WHERE host = $1").bind(host)).await.map(drop)
    }

    async fn set_state(&self, host: Uuid) -> Result<SetState, StoreError> {
        let statement = Statement::new(
            "SELECT newest, active, published, EXISTS (SELECT 1 FROM set_hosts WHERE host = $1) FROM active_set",
        )
        .bind(host);
        let state = self.read_first(statement, |row| {
            Ok(SetState {
                newest: unsigned(get(row, 0)?)?,
                active: optional(get(row, 1)?)?,
                published: optional(get(row, 2)?)?,
                has_joined: get(row, 3)?,
            })
        });
        state.await?.ok_or_else(|| StoreError::Corrupt("the row of the active set is gone".into()))
    }

    async fn generation(&self, number: u64) -> Result<Option<Generation>, StoreError> {
        let statement = Statement::new(
            "SELECT number, revision, digest, content, status, problem, published_by FROM generations
              WHERE number = $1",
        )
        .bind(signed(number));
        self.read_first(statement, generation).await
    }

    async fn publish_generation(&self, generation: NewGeneration) -> Result<PublishOutcome, StoreError> {
        generation.check_texts()?;
        let NewGeneration { base, revision, digest, content, components, prepare_within, by } = generation;
        let statement = Statement::new(
            "SELECT outcome, number, component FROM masque_publish_set_v1($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(signed(base))
        .bind(signed(revision))
        .bind(digest)
        .bind(content)
        .bind(components)
        .bind(millis(prepare_within))
        .bind(KEPT_GENERATIONS)
        .bind(by.name)
        .bind(Uuid::now_v7());
        let outcome = self.write_first(statement, publish_outcome).await?;
        outcome.ok_or_else(|| StoreError::Corrupt("publishing gave no row".into()))
    }

    async fn report_preparation(&self, report: Preparation) -> Result<(), StoreError> {
        report.check_texts()?;
        let statement = Statement::new(
            "INSERT INTO preparations (generation, host, problem, reported_at)
             SELECT g.number, $2, $3, masque_now_v1() FROM generations g WHERE g.number = $1 AND g.status = 'published'
                 ON CONFLICT (generation, host)
                 DO UPDATE SET problem = excluded.problem, reported_at = excluded.reported_at",
        )
        .bind(signed(report.generation))
        .bind(report.host)
        .bind(report.problem);
        self.write(statement).await.map(drop)
    }

    async fn decide_generation(&self, number: u64, by: &SetHost) -> Result<Decision, StoreError> {
        by.check_texts()?;
        let statement = Statement::new("SELECT status, problem FROM masque_decide_set_v1($1, $2, $3)")
            .bind(signed(number))
            .bind(&*by.name)
            .bind(Uuid::now_v7());
        let found = self.write_first(statement, |row| {
            let problem: Option<String> = get(row, 1)?;
            Ok(match get::<&str, _>(row, 0)? {
                "published" => Decision::Waiting(problem.unwrap_or_default()),
                status => Decision::Decided(Some(decided(status, problem)?)),
            })
        });
        Ok(found.await?.unwrap_or(Decision::Decided(None)))
    }

    async fn missing_components(&self, digests: &[String]) -> Result<Vec<String>, StoreError> {
        let statement = Statement::new(
            "SELECT c.digest FROM unnest($1::text[]) AS c (digest) WHERE NOT masque_has_component_v1(c.digest)",
        )
        .bind(digests);
        self.read_all(statement, |row| get(row, 0)).await
    }

    async fn add_component_chunk(&self, chunk: ComponentChunk) -> Result<(), StoreError> {
        let ComponentChunk { digest, component_bytes, index, bytes } = chunk;
        if bytes.len() > COMPONENT_CHUNK_BYTES || component_bytes > MAX_STORED_COMPONENT_BYTES {
            return Err(StoreError::Refused(format!(
                "a component of {component_bytes} bytes, or a piece of {} bytes",
                bytes.len()
            )));
        }
        let statement = Statement::new(
            "WITH component AS (
                INSERT INTO components (digest, bytes, added_at) VALUES ($1, $2, masque_now_v1())
                    ON CONFLICT (digest) DO UPDATE SET added_at = excluded.added_at)
             INSERT INTO component_chunks (digest, index, bytes) VALUES ($1, $3, $4)
                 ON CONFLICT (digest, index) DO NOTHING",
        )
        .bind(digest)
        .bind(signed(component_bytes))
        .bind(i32::try_from(index).unwrap_or(i32::MAX))
        .bind(bytes);
        self.write(statement).await.map(drop)
    }

    async fn component_chunk(&self, digest: &str, index: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let statement = Statement::new("SELECT bytes FROM component_chunks WHERE digest = $1 AND index = $2")
            .bind(digest)
            .bind(i32::try_from(index).unwrap_or(i32::MAX));
        self.read_first(statement, |row| get(row, 0)).await
    }
}

fn optional(number: Option<i64>) -> DatabaseResult<Option<u64>> {
    number.map(unsigned).transpose()
}

/// From the columns number, revision, digest, content, status, problem, published_by.
fn generation(row: &PgRow) -> DatabaseResult<Generation> {
    Ok(Generation {
        number: unsigned(get(row, 0)?)?,
        revision: unsigned(get(row, 1)?)?,
        digest: get(row, 2)?,
        content: get(row, 3)?,
        status: decided(get(row, 4)?, get(row, 5)?)?,
        published_by: get(row, 6)?,
    })
}

fn decided(status: &str, problem: Option<String>) -> DatabaseResult<GenerationStatus> {
    Ok(match status {
        "published" => GenerationStatus::Published,
        "active" => GenerationStatus::Active,
        "replaced" => GenerationStatus::Replaced,
        "refused" => GenerationStatus::Refused(problem.unwrap_or_default()),
        other => return Err(StoreError::Corrupt(format!("`{other}` is no status of a generation")).into()),
    })
}

/// From the columns outcome, number, component.
fn publish_outcome(row: &PgRow) -> DatabaseResult<PublishOutcome> {
    let number = optional(get(row, 1)?)?.unwrap_or_default();
    Ok(match get::<&str, _>(row, 0)? {
        "published" => PublishOutcome::Published(number),
        "unchanged" => PublishOutcome::Unchanged(number),
        "other_content" => PublishOutcome::OtherContent(number),
        "lower" => PublishOutcome::Lower(number),
        "busy" => PublishOutcome::Busy(number),
        "outdated" => PublishOutcome::Outdated(number),
        "missing_component" => {
            PublishOutcome::MissingComponent(get::<Option<String>, _>(row, 2)?.unwrap_or_default())
        }
        other => return Err(StoreError::Corrupt(format!("`{other}` is no outcome of publishing")).into()),
    })
}
