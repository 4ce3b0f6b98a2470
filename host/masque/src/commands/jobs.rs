//! The command `masque jobs`: lists parked jobs, and puts them back once the operator has fixed the cause.

use std::fmt::Write as _;

use anyhow::{Context, bail};
use masque_config::StateConfig;
use masque_store::{JobId, ParkedJob, ParkedJobs};

use crate::store::open_parked_jobs;

/// Lists the parked jobs of a host's store, or puts back those that `retry` names.
///
/// # Errors
/// If one of the named jobs is not parked; then nothing is put back.
pub(crate) async fn list_or_retry(state: &StateConfig, retry: &[String]) -> anyhow::Result<String> {
    let store = open_parked_jobs(state).await?;
    let report = list_or_retry_in(&*store, retry).await;
    store.close().await;
    report
}

async fn list_or_retry_in(store: &dyn ParkedJobs, retry: &[String]) -> anyhow::Result<String> {
    let parked = store.parked_jobs().await?;
    if retry.is_empty() {
        return Ok(list_text(&parked));
    }
    let chosen = chosen_jobs(&parked, retry)?;
    for job in &chosen {
        store.retry_parked(*job).await.with_context(|| format!("could not put {job} back"))?;
    }
    Ok(format!("Put back: {}. A running host tries them within a minute.", chosen.len()))
}

fn chosen_jobs(parked: &[ParkedJob], retry: &[String]) -> anyhow::Result<Vec<JobId>> {
    if retry.iter().any(|word| word == "all") {
        return Ok(parked.iter().map(|job| job.id).collect());
    }
    let find = |word: &String| {
        let found = parked.iter().find(|job| job.id.to_string() == *word);
        let Some(job) = found else {
            bail!("no parked job has the id {word:?}; `masque jobs` lists them");
        };
        Ok(job.id)
    };
    retry.iter().map(find).collect()
}

fn list_text(parked: &[ParkedJob]) -> String {
    if parked.is_empty() {
        return "No job is parked.".to_owned();
    }
    let mut text = String::new();
    for job in parked {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}  {} {}  tried {} times, for {}: {}",
            job.id, job.plugin, job.kind, job.attempt, job.owner.subject, job.error
        );
    }
    text.push_str(
        "To try again: masque jobs --retry ID, or --retry all. The host removes a job that was parked for `jobs.parked_ttl`.",
    );
    text
}

#[cfg(test)]
mod tests {
    use masque_config::{ConfigSource, Environment, Flags};
    use masque_store::Owner;

    use super::*;
    use crate::builtins::ELARA_CARD;

    fn job() -> ParkedJob {
        ParkedJob {
            id: JobId::new(),
            owner: Owner { tenant: "default".into(), issuer: "local".into(), subject: "ana".into() },
            plugin: "diary".into(),
            kind: "observe".into(),
            attempt: 8,
            error: "the disk was away".into(),
            created_at: 0,
        }
    }

    #[test]
    fn a_job_that_is_named_must_be_parked() {
        let (one, two) = (job(), job());
        let parked = [one.clone(), two.clone()];
        assert_eq!(chosen_jobs(&parked, &["all".into()]).unwrap(), [one.id, two.id]);
        assert_eq!(chosen_jobs(&parked, &[two.id.to_string()]).unwrap(), [two.id]);
        let error = chosen_jobs(&parked, &[one.id.to_string(), "other".into()]).unwrap_err();
        assert!(error.to_string().contains("\"other\""), "{error}");
    }

    #[tokio::test]
    async fn a_missing_folder_is_named_with_what_to_do() {
        let source = ConfigSource {
            flags: Flags { data: Some("/nowhere/at/all".into()), ..Flags::default() },
            environment: Environment::default(),
            folder: std::env::temp_dir().join("nowhere"),
            default_card: ELARA_CARD.into(),
        };
        let state = source.load_state().unwrap().part;
        let error = list_or_retry(&state, &[]).await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all") && error.contains("--data"), "{error}");
    }

    #[test]
    fn the_list_says_what_failed_and_how_to_retry_it() {
        let text = list_text(&[job()]);
        for part in ["diary observe", "8 times", "ana", "the disk was away", "--retry"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(list_text(&[]), "No job is parked.");
    }
}
