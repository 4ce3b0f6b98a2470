//! Prepares generations for this host, reports that it has or why it can't, and has them decided. One round asks the database
//! once, and returns the set to switch to.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use masque_config::{Config, Diagnostic, SetDocument, content_digest};
use masque_runtime::Sandbox;
use masque_store::{
    ActiveSets, Decision, Generation, GenerationStatus, Preparation, SetHost, SetState, StoreError,
};
use tokio::time::Instant;

use super::candidate::{Candidate, Failure, Ingredients};
use super::components::{FetchError, LocalComponents};
use crate::active::Active;
use crate::builtins::BuiltinComponents;
use crate::load::{Assembled, assemble};
use crate::metrics;
use crate::publication::{Publication, PublicationState};
use crate::report::ReloadOutcome;
use crate::set::ActiveSet;
use crate::started::Started;

/// The most characters of a report. The log of the host has the whole problem.
const MAX_REPORT: usize = 2000;

/// What a round found.
pub(crate) struct Round {
    /// The set to switch to.
    pub(crate) switch: Option<Candidate>,
    /// Why the host has no set of the active generation.
    pub(crate) obstacle: Option<String>,
    /// Whether a generation is published, so that the next round should come soon.
    pub(crate) is_hurried: bool,
}

/// Prepares generations, one after the other.
pub(crate) struct Preparer {
    store: Arc<dyn ActiveSets>,
    host: SetHost,
    components: LocalComponents,
    sandbox: Arc<Sandbox>,
    builtins: BuiltinComponents,
    started: Started,
    /// The set in use; `None` while the host starts.
    active: Option<Arc<Active>>,
    candidate: Option<Candidate>,
    failure: Option<Failure>,
    /// The published generation that was last seen, until it is known what became of it.
    followed: Option<u64>,
    /// The last report: the generation and the problem.
    reported: Option<(u64, Option<String>)>,
    /// The configuration with whose credentials the set in use was made.
    applied: Option<Arc<Config>>,
}

/// Why no set was made.
enum NotMade {
    Problems(Vec<String>),
    Store(StoreError),
}

impl Preparer {
    pub(crate) fn new(
        store: Arc<dyn ActiveSets>,
        host: SetHost,
        components: LocalComponents,
        sandbox: Arc<Sandbox>,
        builtins: BuiltinComponents,
        started: Started,
        active: Option<Arc<Active>>,
    ) -> Self {
        Self {
            store,
            host,
            components,
            sandbox,
            builtins,
            started,
            active,
            candidate: None,
            failure: None,
            followed: None,
            reported: None,
            applied: None,
        }
    }

    /// The components that this host keeps.
    pub(crate) fn components(&self) -> &LocalComponents {
        &self.components
    }

    /// Brings this host as far as the database is. `local` has its credentials.
    ///
    /// # Errors
    /// The database does not answer; the next round begins where this one ended.
    pub(crate) async fn round(&mut self, local: &Arc<Config>) -> Result<Round, StoreError> {
        let mut state = self.store.set_state(self.host.id).await?;
        if !state.has_joined {
            // At the start, or the database could not be reached for so long that it has forgotten this host.
            self.store.join_sets(self.host.clone()).await?;
        }
        let is_hurried = state.published.is_some();
        if let Some(number) = state.published
            && self.advance(number, local).await?
        {
            state = SetState { active: Some(number), published: None, ..state };
        }
        self.see_what_became_of_it(state).await?;
        let mut round = Round { switch: None, obstacle: None, is_hurried };
        let Some(number) = state.active else { return Ok(round) };
        let is_current = self.current().is_some_and(|current| current.generation == number);
        let is_applied = self.applied.as_ref().is_some_and(|applied| Arc::ptr_eq(applied, local));
        if is_current && is_applied {
            return Ok(round);
        }
        self.prepare(number, local).await?;
        let wanted = self.wanted(number, local);
        match self.candidate.take_if(|candidate| candidate.of.are_same(&wanted)) {
            Some(candidate) => {
                self.applied = Some(Arc::clone(local));
                round.switch = Some(candidate);
            }
            None if !is_current => {
                let problems = self.failure.as_ref().map(|failure| failure.problems.join("; "));
                let problems = problems.unwrap_or_default();
                round.obstacle =
                    Some(format!("generation {number} of the active set can't be prepared: {problems}"));
            }
            // New credentials can't be used; the set in use keeps those that it has.
            None => {}
        }
        Ok(round)
    }

    /// Prepares a published generation, reports, and has it decided. Returns whether it is active.
    async fn advance(&mut self, number: u64, local: &Arc<Config>) -> Result<bool, StoreError> {
        if self.followed.replace(number) != Some(number) {
            tracing::info!(generation = number, "a generation of the active set is published");
            self.show(number, PublicationState::Preparing, Vec::new());
        }
        self.prepare(number, local).await?;
        self.report(number).await?;
        match self.store.decide_generation(number, &self.host).await? {
            Decision::Waiting(hosts) => {
                match self.failure.as_ref().filter(|failure| failure.of.generation == number) {
                    Some(failure) => {
                        self.show(number, PublicationState::Failed, failure.problems.clone());
                    }
                    None => self.show(
                        number,
                        PublicationState::Prepared,
                        hosts.lines().map(str::to_owned).collect(),
                    ),
                }
                Ok(false)
            }
            Decision::Decided(status) => Ok(self.end(number, status)),
        }
    }

    /// Finds out what became of the generation that was published, if another host has decided it.
    async fn see_what_became_of_it(&mut self, state: SetState) -> Result<(), StoreError> {
        let Some(number) = self.followed.filter(|number| state.published != Some(*number)) else {
            return Ok(());
        };
        let found = self.store.generation(number).await?;
        self.end(number, found.map(|generation| generation.status));
        Ok(())
    }

    /// A published generation was decided. Returns whether it is active.
    fn end(&mut self, number: u64, status: Option<GenerationStatus>) -> bool {
        self.followed = None;
        let is_active = status == Some(GenerationStatus::Active);
        if let Some(GenerationStatus::Refused(hosts)) = status {
            tracing::error!(
                generation = number,
                "a generation of the active set is refused, since hosts have not prepared it:"
            );
            hosts.lines().for_each(|line| tracing::error!(generation = number, "{line}"));
            metrics::count_attempt(ReloadOutcome::Refused);
            self.show(number, PublicationState::Refused, hosts.lines().map(str::to_owned).collect());
        } else if let Some(active) = &self.active {
            active.set_publication(None);
        }
        is_active
    }

    /// Makes a set of the generation, unless the last one is of the same, or the last failure is not long ago.
    async fn prepare(&mut self, number: u64, local: &Arc<Config>) -> Result<(), StoreError> {
        let wanted = self.wanted(number, local);
        if self.candidate.as_ref().is_some_and(|candidate| candidate.of.are_same(&wanted))
            || self.failure.as_ref().is_some_and(|failure| !failure.is_worth_a_retry(&wanted))
        {
            return Ok(());
        }
        let began = Instant::now();
        let found = self.store.generation(number).await?;
        let revision = found.as_ref().map(|generation| generation.revision).unwrap_or_default();
        let made = match &found {
            Some(generation) => AssertUnwindSafe(self.make(generation, &wanted))
                .catch_unwind()
                .await
                .unwrap_or_else(|_panic| Err(problem("preparing it panicked, which is a fault of the host"))),
            None => Err(problem("the database does not hold it any more")),
        };
        match made {
            Ok((set, warnings)) => {
                let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                // The one in use is made again with each change of the host's own files.
                if wanted.base.as_ref().is_none_or(|base| base.generation != number) {
                    tracing::info!(
                        generation = number,
                        revision,
                        ms,
                        "a generation of the active set is prepared"
                    );
                }
                self.candidate = Some(Candidate { of: wanted, revision, set, warnings });
                self.failure = None;
            }
            Err(NotMade::Store(error)) => return Err(error),
            Err(NotMade::Problems(problems)) => {
                let is_repeated = self
                    .failure
                    .as_ref()
                    .is_some_and(|before| before.of.generation == number && before.problems == problems);
                if !is_repeated {
                    tracing::error!(
                        generation = number,
                        revision,
                        "this host can't prepare a generation of the active set:"
                    );
                    problems.iter().for_each(|problem| tracing::error!("{problem}"));
                }
                self.failure = Some(Failure { of: wanted, problems, at: Instant::now() });
            }
        }
        Ok(())
    }

    async fn make(
        &self,
        generation: &Generation,
        wanted: &Ingredients,
    ) -> Result<(ActiveSet, Vec<String>), NotMade> {
        if content_digest(generation.content.as_bytes()) != generation.digest {
            return Err(problem("its content is not that of its digest; publish it again"));
        }
        let document =
            SetDocument::parse(&generation.content).map_err(|error| problem(&error.to_string()))?;
        for digest in document.components() {
            self.components.fetch(&*self.store, &digest).await.map_err(|error| match error {
                FetchError::Store(error) => NotMade::Store(error),
                other => problem(&other.to_string()),
            })?;
        }
        let path = |digest: &str| self.components.path(digest);
        let config = wanted.local.with_document(&document, generation.revision, path).map_err(problems)?;
        let too_large = self.started.memory_limit_problems(&config);
        if !too_large.is_empty() {
            return Err(problems(too_large));
        }
        let base = wanted.base.as_deref();
        let assembled = assemble(&config, &self.sandbox, self.builtins, base).await;
        let Assembled { mut set, warnings } = assembled.map_err(|failure| problems(failure.problems))?;
        set.generation = generation.number;
        Ok((set, warnings.iter().map(ToString::to_string).collect()))
    }

    /// Reports whether the generation is prepared, if that is new.
    async fn report(&mut self, number: u64) -> Result<(), StoreError> {
        let failure = self.failure.as_ref().filter(|failure| failure.of.generation == number);
        // No store keeps U+0000.
        let problem = failure.map(|failure| {
            let text = failure.problems.join("; ");
            text.chars().filter(|character| *character != '\0').take(MAX_REPORT).collect::<String>()
        });
        let report = Some((number, problem.clone()));
        if self.reported != report {
            let (generation, host) = (number, self.host.id);
            self.store.report_preparation(Preparation { generation, host, problem }).await?;
            self.reported = report;
        }
        Ok(())
    }

    fn show(&self, generation: u64, state: PublicationState, problems: Vec<String>) {
        if let Some(active) = &self.active {
            active.set_publication(Some(Publication { generation, state, problems }));
        }
    }

    fn current(&self) -> Option<Arc<ActiveSet>> {
        self.active.as_ref().map(|active| active.current())
    }

    fn wanted(&self, generation: u64, local: &Arc<Config>) -> Ingredients {
        Ingredients { generation, local: Arc::clone(local), base: self.current() }
    }
}

fn problem(text: &str) -> NotMade {
    NotMade::Problems(vec![text.to_owned()])
}

fn problems(diagnostics: Vec<Diagnostic>) -> NotMade {
    NotMade::Problems(diagnostics.iter().map(ToString::to_string).collect())
}
