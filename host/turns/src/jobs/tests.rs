//! Background jobs over the real store, with a memory that counts the exchanges that it observes.

mod buffered_state;

use std::io::Write;
use std::sync::{Arc, Mutex};

use masque_companions::Active;
use masque_runtime::{PluginStateScope, State};
use masque_store::{
    Admission, AdmissionOutcome, BudgetAccount, Budgets, Commit, ConversationId, JobCompletion, JobLimits,
    JobRecord, Jobs as _, LiveHosts, MessageId, NewJob, NewMessage, Owner, ParkedJobs as _, PluginState as _,
    StoreError, Target, TurnId, Turns as _, UsageRecord, UserProfile,
};
use masque_store_sqlite::SqliteStore;
use masque_telemetry::metrics::state::JOB_RUNS;
use masque_telemetry::trace::{SpanKind, TraceContext};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::buffered_state::BufferedState;
use super::observed_run::{ObservedRun, log_span};
use super::runner::JobOutcome;
use super::worker::LEASE;
use super::*;
use crate::capabilities::{Capabilities, ConversationContext, KnownHistory, StoredState};
use crate::contract;
use crate::metering::UsageMeter;
use crate::records::CallLog;
use crate::test_support::{KeptSpans, fixture, job_options, load_set};

/// A worker that is not started, and the store behind it.
struct TestWorker {
    store: Arc<SqliteStore>,
    budgets: Arc<Budgets>,
    worker: Arc<JobWorker>,
    /// The position of the turns whose exchanges are stored.
    turn_trace: TraceContext,
    _folder: TempDir,
}

fn owner() -> Owner {
    Owner { tenant: "default".into(), issuer: "local".into(), subject: "local".into() }
}

fn message(content: &str) -> NewMessage {
    NewMessage { id: MessageId::new(), content: content.into(), metadata: json!({}) }
}

impl TestWorker {
    async fn new() -> Self {
        Self::with(&format!(
            "[companions.elara]\npersona = \"elara\"\nmemory = \"counting\"\nmodels = [\"offline\"]\n\
             [plugins.counting]\nsource = \"{}\"\ngrants = {{ state = true }}\n",
            fixture("counts-exchanges").display()
        ))
        .await
    }

    /// A worker whose only jobs are those of a persona that asks the model when it reflects.
    async fn asking() -> Self {
        Self::with(&format!(
            "[companions.elara]\npersona = \"asking\"\nmemory = \"window\"\nmodels = [\"offline\"]\n\
             [plugins.asking]\nsource = \"{}\"\ngrants = {{ models = true }}\n",
            fixture("asks-the-model").display()
        ))
        .await
    }

    async fn with(config: &str) -> Self {
        Self::with_options(config, job_options()).await
    }

    async fn with_options(config: &str, options: JobOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("data")).await.unwrap();
        let active = Arc::new(Active::new(load_set(folder.path(), config).await));
        let host = Uuid::now_v7();
        let budgets = Arc::new(Budgets::new(store.clone(), host, LEASE));
        let live_hosts = LiveHosts::default();
        let worker = JobWorker::new(store.clone(), active, Arc::clone(&budgets), options, live_hosts, host);
        let turn_trace = TraceContext::root();
        Self { store, budgets, worker: Arc::new(worker), turn_trace, _folder: folder }
    }

    /// Stores an exchange with the job that its memory asks for, or with the same job for another `plugin`.
    async fn exchange(
        &self,
        conversation: Option<ConversationId>,
        text: &str,
        plugin: Option<&str>,
    ) -> ConversationId {
        self.paid_exchange(conversation, text, plugin, &[]).await
    }

    /// The same, for which these accounts pay.
    async fn paid_exchange(
        &self,
        conversation: Option<ConversationId>,
        text: &str,
        plugin: Option<&str>,
        accounts: &[BudgetAccount],
    ) -> ConversationId {
        let change = |jobs: &mut Vec<NewJob>| {
            assert_eq!(jobs.len(), 1, "either the memory observes or the persona reflects");
            if let Some(plugin) = plugin {
                jobs[0].plugin = plugin.into();
            }
        };
        self.exchange_of(owner(), conversation, text, accounts, change).await
    }

    /// Stores an exchange of a user with the jobs that its plugins ask for, as `change` leaves them.
    async fn exchange_of(
        &self,
        owner: Owner,
        conversation: Option<ConversationId>,
        text: &str,
        accounts: &[BudgetAccount],
        change: impl FnOnce(&mut Vec<NewJob>),
    ) -> ConversationId {
        let target = match conversation {
            Some(id) => Target::Existing(id),
            None => {
                Target::New { id: ConversationId::new(), companion: "elara".into(), title: String::new() }
            }
        };
        let admission = Admission {
            owner: owner.clone(),
            host: self.worker.host,
            lease: LEASE,
            turn: TurnId::new(),
            target,
            companion: None,
            companions: Arc::new(["elara".to_owned()].into()),
            message: message(text),
            idempotency: None,
            resume: false,
            waiting: None,
            tail: contract::TAIL,
        };
        let AdmissionOutcome::Started(started) = self.store.admit(admission).await.unwrap().outcome else {
            panic!("not started")
        };
        let reply = message(&format!("You said: {text}"));
        let companion = self.worker.runner.active.current().companions["elara"].clone();
        let exchange = EndedExchange {
            started: &started,
            profile: &UserProfile::default(),
            reply: &reply,
            usage: UsageRecord::default(),
            is_interrupted: false,
            accounts,
            trace: self.turn_trace,
            request_id: "look-for-me",
        };
        let mut jobs = jobs_after(&companion, &exchange);
        change(&mut jobs);
        let commit = Commit {
            owner,
            conversation: started.conversation,
            turn: started.turn,
            epoch: started.epoch,
            reply,
            finish: "stop".into(),
            usage: UsageRecord::default(),
            response: json!({}),
            jobs,
        };
        self.store.commit(commit).await.unwrap();
        started.conversation
    }

    fn state(&self, plugin: &str, conversation: ConversationId) -> BufferedState {
        self.state_within(plugin, conversation, 1 << 20)
    }

    fn state_within(&self, plugin: &str, conversation: ConversationId, quota: u64) -> BufferedState {
        BufferedState::new(self.stored(plugin, conversation, quota))
    }

    fn stored(&self, plugin: &str, conversation: ConversationId, quota: u64) -> StoredState {
        let context = ConversationContext {
            store: self.store.clone(),
            owner: owner(),
            conversation,
            fence: None,
            history: KnownHistory {
                own_message: MessageId::new(),
                own_sequence: 0,
                is_stored: true,
                tail: Vec::new(),
            },
            meter: UsageMeter::new(Arc::clone(&self.budgets), Vec::new(), "elara", conversation),
            calls: CallLog::unrecorded(),
        };
        Capabilities::new(context, None).state(plugin, "1.0.0", quota)
    }

    async fn value(
        &self,
        scope: PluginStateScope,
        key: &str,
        conversation: ConversationId,
    ) -> Option<String> {
        let entry = self.state("counting", conversation).get(scope, key).await.unwrap()?;
        Some(String::from_utf8(entry.value).unwrap())
    }

    async fn take(&self) -> JobRecord {
        self.store.take(self.worker.host, LEASE, JobLimits::total(1), None).await.unwrap().jobs.remove(0)
    }
}

#[tokio::test]
async fn a_memory_observes_every_exchange_in_order_with_the_messages_before_it() {
    let test = TestWorker::new().await;
    let conversation = test.exchange(None, "one", None).await;
    test.exchange(Some(conversation), "two", None).await;
    for _ in 0..2 {
        let job = test.take().await;
        assert!(
            test.store
                .take(test.worker.host, LEASE, JobLimits::total(1), None)
                .await
                .unwrap()
                .jobs
                .is_empty(),
            "one at a time"
        );
        Arc::clone(&test.worker.runner).run(job).await;
    }
    assert_eq!(test.value(PluginStateScope::User, "told", conversation).await.unwrap(), "2");
    assert_eq!(
        test.value(PluginStateScope::User, "said-1", conversation).await.unwrap(),
        "\"You said: one\""
    );
    assert_eq!(
        test.value(PluginStateScope::User, "said-2", conversation).await.unwrap(),
        "\"You said: two\""
    );
    assert_eq!(test.value(PluginStateScope::Conversation, "before", conversation).await.unwrap(), "2");
    assert_eq!(test.store.counts().await.unwrap(), Default::default());
}

#[tokio::test]
async fn an_attempt_that_fails_leaves_no_trace_and_the_next_one_counts_once() {
    let test = TestWorker::new().await;
    let conversation = test.exchange(None, "fail", None).await;
    let job = test.take().await;
    Arc::clone(&test.worker.runner).run(job.clone()).await;
    assert_eq!(test.value(PluginStateScope::User, "told", conversation).await, None);
    let counts = test.store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.parked), (1, 0), "it will be tried again");

    let again = JobRecord { attempt: 2, ..job };
    let run = ObservedRun::begin(&test.worker.runner.tracer, &again);
    let JobOutcome::Done(writes) =
        test.worker.runner.call(&again, &test.worker.runner.active.current(), &run).await
    else {
        panic!("the second delivery fails too")
    };
    assert_eq!(test.store.state_write(None, writes).await.unwrap().unwrap().len(), 3);
    assert_eq!(test.value(PluginStateScope::User, "told", conversation).await.unwrap(), "1");
}

#[tokio::test]
async fn the_trace_of_a_job_is_linked_to_the_turn_that_left_it() {
    let spans = KeptSpans::default();
    let config = format!(
        "[companions.elara]\npersona = \"elara\"\nmemory = \"observed\"\nmodels = [\"offline\"]\n\
         [plugins.observed]\nsource = \"{}\"\ngrants = {{ state = true }}\n",
        fixture("counts-exchanges").display()
    );
    let options = JobOptions { tracer: spans.tracer(1.0), ..job_options() };
    let test = TestWorker::with_options(&config, options).await;
    test.exchange(None, "one", None).await;
    Arc::clone(&test.worker.runner).run(test.take().await).await;

    let spans = spans.all();
    let root = spans.iter().find(|span| span.name == "observe observed").unwrap();
    let trace = test.turn_trace;
    let [link] = &root.links.links[..] else { panic!("{root:?}") };
    assert_eq!(link.span_context.trace_id().to_bytes(), trace.trace_id().to_be_bytes());
    assert_eq!(link.span_context.span_id().to_bytes(), trace.span_id().to_be_bytes());
    assert_ne!(root.span_context.trace_id(), link.span_context.trace_id(), "it has a trace of its own");
    assert_eq!(root.span_kind, SpanKind::Consumer, "no client waits for it");
    assert_eq!(JOB_RUNS.value(&["observed", "observe", "done"]), 1);
}

#[tokio::test]
async fn lines_about_a_job_have_the_id_of_the_request_whose_turn_left_it_and_the_trace_of_the_run() {
    let test = TestWorker::new().await;
    test.exchange(None, "one", None).await;
    let job = test.take().await;
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        log_span(&job).in_scope(|| {
            let _run = ObservedRun::begin(&test.worker.runner.tracer, &job);
            tracing::warn!("a line");
        });
    });
    let line = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    assert!(line.contains("request_id=\"look-for-me\"") && line.contains("a line"), "{line}");
    assert!(line.contains(&format!("turn_id={}", job.turn)), "{line}");
    let (_, trace) = line.split_once(" trace_id=").unwrap();
    assert!(trace.bytes().take_while(u8::is_ascii_hexdigit).count() == 32, "{line}");
}

/// What a subscriber has written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_job_of_a_missing_plugin_is_parked_and_one_that_its_plugin_does_not_want_is_done() {
    let test = TestWorker::new().await;
    test.exchange(None, "one", Some("gone")).await;
    test.exchange(None, "two", Some("offline")).await;
    for _ in 0..2 {
        let job = test.take().await;
        Arc::clone(&test.worker.runner).run(job).await;
    }
    let counts = test.store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.running, counts.parked), (0, 0, 1));
}

#[tokio::test]
async fn a_job_that_panics_is_tried_again_and_one_that_panics_again_is_parked() {
    let test = TestWorker::new().await;
    test.exchange(None, "one", None).await;
    test.exchange(None, "two", None).await;
    let runner = &test.worker.runner;
    let set = runner.active.current();
    let panic_at = async |attempt| {
        let job = JobRecord { attempt, ..test.take().await };
        runner.conclude(&job, &set, async { panic!("a test panics in a job") }).await;
        let counts = test.store.counts().await.unwrap();
        (counts.queued, counts.running, counts.parked)
    };
    assert_eq!(panic_at(2).await, (1, 0, 1), "parked, and the next job of the queue can run");
    assert_eq!(panic_at(1).await, (1, 0, 1), "it will be tried again");
    let parked = test.store.parked_jobs().await.unwrap();
    assert!(parked[0].error.contains("panicked"), "{}", parked[0].error);
}

#[tokio::test]
async fn a_job_that_asks_the_model_is_charged_and_comes_again_tomorrow_when_the_budget_is_spent() {
    let test = TestWorker::asking().await;
    let account = BudgetAccount { name: "key:1".into(), tokens_per_day: Some(1) };
    let spent = async || {
        let spent = test.budgets.spent("key:1").await.unwrap();
        spent.input_tokens + spent.output_tokens
    };
    test.paid_exchange(None, "one", None, std::slice::from_ref(&account)).await;
    let job = test.take().await;
    Arc::clone(&test.worker.runner).run(job).await;
    assert_eq!(test.store.counts().await.unwrap(), Default::default(), "it is done");
    let after_one = spent().await;
    assert!(after_one > 0);

    test.paid_exchange(None, "two", None, &[account]).await;
    let job = test.take().await;
    Arc::clone(&test.worker.runner).run(job).await;
    assert_eq!(spent().await, after_one, "the model was not asked");
    let day_ends_in = test.budgets.spent("key:1").await.unwrap().day_ends_in;
    let taken = test.store.take(test.worker.host, LEASE, JobLimits::total(1), None).await.unwrap();
    assert!(taken.jobs.is_empty() && taken.next_due.unwrap() >= day_ends_in.mul_f32(0.99), "{taken:?}");
}

#[tokio::test]
async fn the_worker_wakes_for_new_jobs_and_stops_when_it_is_told_to() {
    let test = TestWorker::new().await;
    let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let worker = {
        let (worker, wake, stop) = (Arc::clone(&test.worker), Arc::clone(&wake), stop.clone());
        tokio::spawn(async move { worker.work(&wake, &stop).await })
    };
    let conversation = test.exchange(None, "one", None).await;
    wake.notify_one();
    while test.value(PluginStateScope::User, "told", conversation).await.is_none() {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    worker.await.unwrap();
}

#[tokio::test]
async fn a_host_leaves_the_jobs_of_a_plugin_that_it_does_not_have_to_other_hosts() {
    let test = TestWorker::new().await;
    test.worker.live_hosts.set(2);
    test.exchange(None, "elsewhere", Some("plugin-of-another-host")).await;
    let conversation = test.exchange(None, "here", None).await;
    let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let worker = {
        let (worker, wake, stop) = (Arc::clone(&test.worker), Arc::clone(&wake), stop.clone());
        tokio::spawn(async move { worker.work(&wake, &stop).await })
    };
    while test.value(PluginStateScope::User, "told", conversation).await.is_none() {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    worker.await.unwrap();
    let counts = test.store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.parked), (1, 0));
}

#[tokio::test]
async fn reflections_that_stall_do_not_keep_the_jobs_of_others_from_running() {
    // It accepts connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", silent.local_addr().unwrap());
    let test = TestWorker::with(&format!(
        r#"
        [companions.elara]
        persona = "asking"
        memory = "counting"
        models = ["stalled"]

        [plugins.asking]
        source = "{asking}"
        grants = {{ models = true }}

        [plugins.counting]
        source = "{counting}"
        grants = {{ state = true }}

        [plugins.stalled]
        source = "{stalled}"
        settings = {{ speaks = false, url = "{origin}/" }}
        grants = {{ http = ["{origin}"] }}
        "#,
        asking = fixture("asks-the-model").display(),
        counting = fixture("counts-exchanges").display(),
        stalled = fixture("never-answers").display(),
    ))
    .await;
    for user in ["ana", "ben", "cleo", "dora"] {
        test.exchange_of(Owner { subject: user.into(), ..owner() }, None, "Hello.", &[], |jobs| {
            assert_eq!(jobs.len(), 2, "the memory observes, and the persona reflects");
        })
        .await;
    }
    let (wake, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let worker = {
        let (worker, wake, stop) = (Arc::clone(&test.worker), Arc::clone(&wake), stop.clone());
        tokio::spawn(async move { worker.work(&wake, &stop).await })
    };
    loop {
        let counts = test.store.counts().await.unwrap();
        if counts.queued + counts.running == 4 {
            assert_eq!(counts.running, 2, "the reflections have half of the places");
            break;
        }
        tokio::task::yield_now().await;
    }
    stop.cancel();
    worker.await.unwrap();
}

#[test]
fn a_stored_payload_can_be_read_again() {
    let payload: Value = json!({
        "companion": "elara", "attempt": 1,
        "message": { "id": MessageId::new(), "content": "Hi.", "metadata": {}, "at": 4 },
        "sequence": 1, "reply": { "id": MessageId::new(), "content": "Hello.", "metadata": {} },
        "input_tokens": 1, "output_tokens": 2, "cached_tokens": 0, "interrupted": true, "at": 5,
        "accounts": [{ "name": "key:1", "tokens_per_day": 5 }, { "name": "user:ana" }],
        "of_a_later_version": true,
    });
    let read = super::payload::Payload::from_text(&payload.to_string()).unwrap();
    let mut expected = payload;
    expected.as_object_mut().unwrap().remove("of_a_later_version");
    assert_eq!(serde_json::from_str::<Value>(&read.to_text()).unwrap(), expected);
}
