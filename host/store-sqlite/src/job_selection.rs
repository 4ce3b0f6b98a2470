//! Chooses the jobs that a host runs next, fairly across plugins and users.
//!
//! Threat: one plugin or one user fills all places of a host with jobs that stall, and those of everyone else wait.
//! Policy: the next job is of the plugin with the fewest jobs running, and no plugin and no user has more running than the
//! limits allow. Accepted consequence: places can stay free although jobs are due.
//!
//! Nothing here grows with the number of jobs: a plugin's due heads are a range of one index, and the heads that have to
//! be passed over are of users that are at their limit, of which there are no more than running jobs.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use masque_store::{ConversationId, JobId, JobLimits, JobRecord, Owner, StoreError, TakenJobs, TurnId};
use rusqlite::{Connection, Row};
use uuid::Uuid;

use crate::columns::{attempt, lease_clock, lease_end, remaining};
use crate::error::{DatabaseError, Result};
use crate::job_rows::{ability, advance, count_crash, park, remove_head};
use crate::operation::{Operation, without_panic};
use crate::query::{all_rows, execute, first_row, one_row};

/// How many heads one `TakeJobs` drops at most: jobs of deleted conversations and erased users, and jobs that can't be read.
const MAX_DROPPED: usize = 256;

/// Leases the jobs that are due, at most one of each queue.
pub(crate) struct TakeJobs {
    pub(crate) host: Uuid,
    pub(crate) lease: Duration,
    pub(crate) limits: JobLimits,
    /// The plugins whose jobs are taken; `None` for any.
    pub(crate) plugins: Option<BTreeSet<String>>,
}

/// The head of a queue.
struct Head {
    number: i64,
    due_at: i64,
    queue: String,
    user: Uuid,
    is_orphan: bool,
}

/// A plugin with a head that can be taken.
struct Candidate {
    plugin: String,
    /// When its first head is due, whether or not that one can be taken.
    first_due: i64,
    /// Its first due head within the limit per user.
    head: Option<Head>,
}

/// The jobs that a host runs, by plugin and by user.
#[derive(Default)]
struct Running {
    plugins: HashMap<String, u32>,
    users: HashMap<Uuid, u32>,
    /// The numbers of those that were taken now. With a lease of zero length they are due again at once.
    taken: Vec<i64>,
}

impl Operation for TakeJobs {
    type Answer = TakenJobs;

    const IS_BACKGROUND: bool = true;

    /// Heads whose conversation was deleted or whose user was erased are removed, and heads that can't be read or have ended
    /// their hosts too often are parked. Both uncover the next job of the queue, so the plugin is looked at again.
    fn run(self, connection: &Connection) -> Result<TakenJobs> {
        let now = lease_clock();
        let mut running = self.running(connection, now)?;
        let mut jobs = Vec::new();
        let mut dropped = 0;
        let mut candidates = self.candidates(connection, &running, now)?;
        while jobs.len() < self.limits.total as usize && dropped < MAX_DROPPED {
            let fairest = candidates
                .iter_mut()
                .filter_map(|candidate| {
                    let head = candidate.head.as_ref()?;
                    Some(((running.of_plugin(&candidate.plugin), head.due_at, head.number), candidate))
                })
                .min_by_key(|(rank, _)| *rank);
            let Some((_, candidate)) = fairest else { break };
            let Some(head) = candidate.head.take() else { break };
            match self.take(connection, &head, now)? {
                Some(job) => {
                    running.add(candidate.plugin.clone(), head.user);
                    running.taken.push(head.number);
                    jobs.push(job);
                }
                None => dropped += 1,
            }
            candidates.retain(|candidate| running.of_plugin(&candidate.plugin) < self.limits.per_plugin);
            for candidate in &mut candidates {
                let is_known = match &candidate.head {
                    Some(head) => running.of_user(&head.user) < self.limits.per_user,
                    None => candidate.first_due > now,
                };
                if !is_known {
                    candidate.head = self.first_allowed(connection, &candidate.plugin, &running, now)?;
                }
            }
        }
        let mut next_due: Option<i64> = None;
        for Candidate { plugin, first_due, head } in &candidates {
            let due_at = match head {
                Some(_) => Some(now),
                None => next_head(connection, plugin, *first_due, now)?,
            };
            next_due = [next_due, due_at].into_iter().flatten().min();
        }
        let next_due = next_due.map(|due_at| remaining(due_at.saturating_sub(now)));
        Ok(TakenJobs { jobs, next_due })
    }
}

impl TakeJobs {
    /// The jobs that this host runs. A job whose lease has expired is due again, so it doesn't count.
    fn running(&self, connection: &Connection, now: i64) -> Result<Running> {
        let jobs = all_rows(
            connection,
            "SELECT plugin, user FROM jobs WHERE status = 'running' AND host = ?1 AND due_at > ?2",
            (self.host, now),
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, Uuid>(1)?)),
        )?;
        let mut running = Running::default();
        for (plugin, user) in jobs {
            running.add(plugin, user);
        }
        Ok(running)
    }

    /// The plugins to be looked at that are below their limit and have a head, due or not.
    fn candidates(&self, connection: &Connection, running: &Running, now: i64) -> Result<Vec<Candidate>> {
        let mut candidates = Vec::new();
        // No plugin has an empty name.
        let mut after = String::new();
        while let Some((plugin, first_due)) = plugin_after(connection, &after)? {
            after.clone_from(&plugin);
            let is_asked_for = self.plugins.as_ref().is_none_or(|plugins| plugins.contains(&plugin));
            if !is_asked_for || running.of_plugin(&plugin) >= self.limits.per_plugin {
                continue;
            }
            let head = match first_due <= now {
                true => self.first_allowed(connection, &plugin, running, now)?,
                false => None,
            };
            candidates.push(Candidate { plugin, first_due, head });
        }
        Ok(candidates)
    }

    /// The first due head of a plugin whose user is below its limit. A user has one head for each plugin, so no more have
    /// to be passed over than users are at their limit.
    fn first_allowed(
        &self,
        connection: &Connection,
        plugin: &str,
        running: &Running,
        now: i64,
    ) -> Result<Option<Head>> {
        let at_limit = running.users.values().filter(|count| **count >= self.limits.per_user).count();
        let to_read = i64::try_from(at_limit + running.taken.len()).unwrap_or(i64::MAX).saturating_add(1);
        let heads = all_rows(
            connection,
            "SELECT j.number, j.due_at, j.queue, j.user,
                    u.subject IS NULL OR j.conversation IS NOT NULL AND (c.id IS NULL OR c.deleted_at IS NOT NULL)
               FROM jobs j INDEXED BY jobs_due LEFT JOIN conversations c ON c.id = j.conversation
                    LEFT JOIN users u ON u.id = j.user
              WHERE j.due_at IS NOT NULL AND j.plugin = ?1 AND j.due_at <= ?2
              ORDER BY j.due_at, j.number LIMIT ?3",
            (plugin, now, to_read),
            |row| {
                Ok(Head {
                    number: row.get(0)?,
                    due_at: row.get(1)?,
                    queue: row.get(2)?,
                    user: row.get(3)?,
                    is_orphan: row.get(4)?,
                })
            },
        )?;
        Ok(heads.into_iter().find(|head| {
            running.of_user(&head.user) < self.limits.per_user && !running.taken.contains(&head.number)
        }))
    }

    /// Leases the job of a head. `None` if there is no job to run: the head was removed or parked.
    fn take(&self, connection: &Connection, head: &Head, now: i64) -> Result<Option<JobRecord>> {
        if head.is_orphan {
            remove_head(connection, head.number, &head.queue, now)?;
            return Ok(None);
        }
        if count_crash(connection, self.host, head.number, &head.queue, now)? {
            return Ok(None);
        }
        match without_panic(|| read_head(connection, head.number)) {
            Ok(job) => {
                execute(
                    connection,
                    "UPDATE jobs
                        SET status = 'running', host = ?2, due_at = ?3, attempt = attempt + 1, epoch = epoch + 1
                      WHERE number = ?1",
                    (head.number, self.host, lease_end(self.lease)),
                )?;
                Ok(Some(job))
            }
            // One such job must not keep the jobs of all other queues from being taken.
            Err(error) if error.is_unreadable_row() => {
                park_unreadable(connection, head, error, now)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Running {
    fn add(&mut self, plugin: String, user: Uuid) {
        *self.plugins.entry(plugin).or_default() += 1;
        *self.users.entry(user).or_default() += 1;
    }

    fn of_plugin(&self, plugin: &str) -> u32 {
        self.plugins.get(plugin).copied().unwrap_or_default()
    }

    fn of_user(&self, user: &Uuid) -> u32 {
        self.users.get(user).copied().unwrap_or_default()
    }
}

/// The next plugin by name that has a head, and when its first head is due.
fn plugin_after(connection: &Connection, after: &str) -> Result<Option<(String, i64)>> {
    first_row(
        connection,
        "SELECT plugin, due_at FROM jobs INDEXED BY jobs_due
          WHERE due_at IS NOT NULL AND plugin > ?1 ORDER BY plugin, due_at LIMIT 1",
        [after],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// When the first head of a plugin becomes due that is not due yet.
fn next_head(connection: &Connection, plugin: &str, first_due: i64, now: i64) -> Result<Option<i64>> {
    if first_due > now {
        return Ok(Some(first_due));
    }
    first_row(
        connection,
        "SELECT due_at FROM jobs INDEXED BY jobs_due
          WHERE due_at IS NOT NULL AND plugin = ?1 AND due_at > ?2 ORDER BY due_at LIMIT 1",
        (plugin, now),
        |row| Ok(row.get(0)?),
    )
}

/// The job as it is once it is leased: with the next attempt and epoch.
fn read_head(connection: &Connection, number: i64) -> Result<JobRecord> {
    one_row(
        connection,
        "SELECT j.id, u.tenant, u.issuer, u.subject, j.conversation, j.turn, j.plugin, j.kind, j.payload,
                j.attempt + 1, j.epoch + 1
           FROM jobs j JOIN users u ON u.id = j.user WHERE j.number = ?1",
        [number],
        record,
    )
}

/// Parks a head that can't be read and makes the next job of its queue the head.
fn park_unreadable(connection: &Connection, head: &Head, error: DatabaseError, now: i64) -> Result<()> {
    let error = StoreError::from(error).to_string();
    tracing::error!(job = head.number, queue = head.queue, error, "a job that can't be read was parked");
    park(connection, head.number, &error)?;
    advance(connection, &head.queue, now)
}

fn record(row: &Row<'_>) -> Result<JobRecord> {
    Ok(JobRecord {
        id: JobId::from(row.get::<_, Uuid>(0)?),
        owner: Owner { tenant: row.get(1)?, issuer: row.get(2)?, subject: row.get(3)? },
        conversation: ConversationId::from(row.get::<_, Uuid>(4)?),
        turn: TurnId::from(row.get::<_, Uuid>(5)?),
        plugin: row.get(6)?,
        ability: ability(row.get_ref(7)?.as_str()?)?,
        payload: row.get(8)?,
        attempt: attempt(row.get(9)?)?,
        epoch: row.get(10)?,
    })
}
