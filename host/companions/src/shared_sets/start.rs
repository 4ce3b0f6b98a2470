//! The first set of a host that starts: the active generation of the database, or its own file where there is none.

use std::sync::Arc;
use std::time::Duration;

use masque_config::{Config, Diagnostic};
use tokio::time::Instant;

use super::offer::{Offered, Offering};
use super::preparer::{Preparer, Round};
use crate::set::ActiveSet;

/// How often a host that starts asks the database.
const INTERVAL: Duration = Duration::from_millis(250);
/// How often it offers its own file.
const OFFER_INTERVAL: Duration = Duration::from_secs(3);

/// Waits for a set of the active generation. Says for what it waits, each thing once.
///
/// # Errors
/// Nothing is active, and the host's own configuration has mistakes.
pub(crate) async fn first_set(
    mut preparer: Preparer,
    offering: &Offering,
    config: &Arc<Config>,
) -> Result<ActiveSet, Vec<Diagnostic>> {
    let mut said = String::new();
    let mut say = |text: String| {
        if text != said {
            tracing::warn!("not ready: {text}");
            said = text;
        }
    };
    let mut next_offer = Instant::now();
    loop {
        match preparer.round(config).await {
            Ok(Round { switch: Some(candidate), .. }) => {
                candidate.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                tracing::info!(
                    generation = candidate.of.generation,
                    revision = candidate.revision,
                    "the active set of the database is in effect"
                );
                return Ok(candidate.set);
            }
            Ok(Round { obstacle, is_hurried, .. }) => {
                let is_first = obstacle.is_none();
                obstacle.into_iter().for_each(&mut say);
                if !is_hurried && Instant::now() >= next_offer {
                    next_offer = Instant::now() + OFFER_INTERVAL;
                    match offering.offer(config, None, false).await {
                        Ok(Offered::Refused(failure)) if is_first && !failure.is_temporary => {
                            return Err(failure.problems);
                        }
                        Ok(Offered::Refused(failure)) => {
                            let problems = failure.problems.iter().map(ToString::to_string);
                            say(problems.collect::<Vec<_>>().join("; "));
                        }
                        Ok(Offered::Published(generation)) => {
                            tracing::info!(
                                generation,
                                "the companions and plugins of this host's file are published"
                            );
                        }
                        Ok(Offered::NotInEffect(problem)) => say(problem.to_string()),
                        Ok(Offered::Nothing | Offered::TryAgain) => {}
                        Err(error) => say(format!("the database does not answer: {error}")),
                    }
                }
            }
            Err(error) => say(format!("the database does not answer: {error}")),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
