//! What metrics and traces say of turns.

use masque_telemetry::metrics::turns::{DURATION, HOST_OVERHEAD, MODEL_CALLS, TOKENS, TURNS};
use masque_telemetry::trace::SpanData;

use super::*;
use crate::records::{RecordContent, RecordOptions};
use crate::test_support::{KeptRecords, KeptSpans};

/// Resolves when no task of a turn is left.
pub(super) async fn until_idle(host: &TestHost) {
    while host.turns.running() > 0 {
        tokio::task::yield_now().await;
    }
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string())
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    let named = spans.iter().find(|span| span.name == name);
    named.unwrap_or_else(|| {
        panic!("no `{name}` among {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>())
    })
}

#[tokio::test]
async fn each_turn_that_ends_is_counted_once_by_how_it_ended() {
    let mut host = TestHost::named("counted", "[\"openai\"]", |_| {}).await;
    completed(&host.exchange(says("Hello."), "Hello.").await);

    let sent = host.send(says("Fail."));
    host.upstream.next().await.refuse(503, None);
    sent.await.unwrap().unwrap_err();
    let sent = host.send(says("Of which the model does not hear."));
    host.upstream.next().await.refuse(400, None);
    sent.await.unwrap().unwrap_err();

    let mut half_a_reply = async || {
        let sent = host.send(says("Tell me."));
        let answer = host.upstream.next().await.stream();
        answer.say("Half a ").await;
        (sent.await.unwrap().unwrap(), answer)
    };
    let (reader, answer) = half_a_reply().await;
    answer.cut().await;
    failed(&all(reader).await);

    let (reader, _answer) = half_a_reply().await;
    let (_interrupted, _goes_on) = half_a_reply().await;
    host.turns.cancel(&owner(), reader.turn()).await.unwrap();
    host.turns.drain(std::time::Instant::now(), CancellationToken::new()).await;
    host.turns.chat(says("Too late.")).await.unwrap_err();

    let outcomes = ["completed", "failed", "rejected", "interrupted", "cancelled", "refused"];
    assert_eq!(outcomes.map(|outcome| TURNS.value(&["counted", outcome])), [1, 2, 1, 1, 1, 0]);
    let timed = DURATION.with(&["counted", "failed"]).unwrap();
    assert_eq!(timed.get_sample_count(), 2);
}

#[tokio::test]
async fn every_call_of_a_model_is_counted_those_of_plugins_and_before_a_failover_too() {
    let records = KeptRecords::default();
    let change = |options: &mut Options| {
        options.records = RecordOptions { content: RecordContent::Digests, share: 1.0 };
        options.record_sink = Some(Arc::new(records.clone()));
    };
    let mut host = TestHost::named("calls", "[\"openai\", \"offline\"]", change).await;
    let sent = host.send(says("ask me"));
    host.upstream.next().await.reply("A question.").await;
    host.upstream.next().await.refuse(503, None);
    completed(&all(sent.await.unwrap().unwrap()).await);
    until_idle(&host).await;

    // By who asked: the persona, and for the reply the models themselves.
    for (plugin, model, outcome) in
        [("asking", "openai", "ok"), ("openai", "openai", "overloaded"), ("offline", "offline", "ok")]
    {
        assert_eq!(MODEL_CALLS.value(&["calls", plugin, model, outcome]), 1, "{plugin} {model} {outcome}");
    }
    assert_eq!(MODEL_CALLS.value(&["calls", "openai", "openai", "ok"]), 0);
    // The scripted model reports them; a call that was refused has none.
    assert_eq!(TOKENS.value(&["calls", "openai", "input"]), 12);
    assert_eq!(TOKENS.value(&["calls", "openai", "output"]), 3);
    assert!(TOKENS.value(&["calls", "offline", "output"]) > 0);
    assert_eq!(HOST_OVERHEAD.with(&["calls"]).unwrap().get_sample_count(), 1);
}

#[tokio::test]
async fn the_steps_of_a_turn_are_below_its_span() {
    let spans = KeptSpans::default();
    let mut host =
        TestHost::named("traced", "[\"openai\", \"offline\"]", |options| options.tracer = spans.tracer(1.0))
            .await;
    let request = says("Hello.");
    let position = request.trace;
    let sent = host.send(request);
    host.upstream.next().await.refuse(503, None);
    let events = all(sent.await.unwrap().unwrap()).await;
    let (turn, conversation) = created(&events);
    until_idle(&host).await;

    let spans = spans.all();
    for span in &spans {
        assert_eq!(
            span.span_context.trace_id().to_bytes(),
            position.trace_id().to_be_bytes(),
            "{}",
            span.name
        );
    }
    let root = named(&spans, "invoke_agent traced");
    assert_eq!(
        root.span_context.span_id().to_bytes(),
        position.span_id().to_be_bytes(),
        "as in the response"
    );
    for step in ["admission", "store admission", "chat openai", "chat offline", "commit"] {
        assert_eq!(named(&spans, step).parent_span_id, root.span_context.span_id(), "{step}");
    }
    let admission = named(&spans, "admission").span_context.span_id();
    assert_eq!(named(&spans, "store admit").parent_span_id, admission);

    assert_eq!(attribute(root, "gen_ai.operation.name").unwrap(), "invoke_agent");
    assert_eq!(attribute(root, "gen_ai.agent.name").unwrap(), "traced");
    assert_eq!(attribute(root, "gen_ai.conversation.id").unwrap(), conversation.to_string());
    assert_eq!(attribute(root, "masque.turn.id").unwrap(), turn.to_string());
    assert_eq!(attribute(root, "masque.turn.outcome").unwrap(), "completed");
    assert_eq!(attribute(root, "gen_ai.request.model").unwrap(), "offline");
    assert!(attribute(root, "masque.turn.time_to_first_content").is_some());
    let (first, second) = (named(&spans, "chat openai"), named(&spans, "chat offline"));
    assert_eq!(attribute(first, "error.type").unwrap(), "overloaded");
    assert_eq!(attribute(second, "error.type"), None);
    assert!(attribute(second, "gen_ai.response.time_to_first_chunk").is_some());
    assert!(attribute(second, "gen_ai.response.finish_reasons").unwrap().contains("stop"));
    let shown = format!("{spans:?}");
    assert!(!shown.contains("Hello.") && !shown.contains(&text(&events)), "texts are in no span");
}

#[tokio::test]
async fn the_trace_of_a_turn_that_failed_is_kept_however_few_are() {
    let spans = KeptSpans::default();
    let mut host = TestHost::with(|options| options.tracer = spans.tracer(0.0)).await;
    completed(&host.exchange(says("Hello."), "Hello.").await);
    until_idle(&host).await;
    assert_eq!(spans.names(), Vec::<String>::new());

    let sent = host.send(says("Fail."));
    host.upstream.next().await.refuse(500, None);
    sent.await.unwrap().unwrap_err();
    until_idle(&host).await;
    let spans = spans.all();
    assert_eq!(attribute(named(&spans, "invoke_agent elara"), "error.type").unwrap(), "model-unavailable");
}

#[tokio::test]
async fn a_request_for_a_companion_that_does_not_exist_names_no_span() {
    let spans = KeptSpans::default();
    let host = TestHost::with(|options| options.tracer = spans.tracer(1.0)).await;
    let request = ChatRequest { companion: Some("of the client".into()), ..says("Hello.") };
    host.turns.chat(request).await.unwrap_err();
    assert_eq!(spans.names(), ["admission", "invoke_agent"]);
}

#[tokio::test]
async fn a_greeting_has_a_trace_with_the_call_of_the_persona_and_what_it_asked_for() {
    let spans = KeptSpans::default();
    let mut host =
        TestHost::start_with("asking", "[\"openai\"]", |options| options.tracer = spans.tracer(1.0)).await;
    let (turns, request) = (host.turns.clone(), greeting(None));
    let (position, conversation) = (request.trace, request.conversation);
    let sent = tokio::spawn(async move { turns.greet(request).await });
    host.upstream.next().await.reply("Welcome.").await;
    assert_eq!(sent.await.unwrap().unwrap().unwrap().content, "Welcome.");

    let spans = spans.all();
    let root = named(&spans, "greeting elara");
    assert_eq!(root.span_context.span_id().to_bytes(), position.span_id().to_be_bytes());
    assert_eq!(attribute(root, "gen_ai.agent.name").unwrap(), "elara");
    assert_eq!(attribute(root, "gen_ai.conversation.id").unwrap(), conversation.to_string());
    let call = named(&spans, "plugin.greet");
    assert_eq!(call.parent_span_id, root.span_context.span_id());
    for step in ["models.ask", "chat openai", "plugin.generate"] {
        let trace = named(&spans, step).span_context.trace_id();
        assert_eq!(trace, root.span_context.trace_id(), "{step}");
    }
}

#[tokio::test]
async fn of_greetings_those_that_fail_are_kept_however_few_traces_are() {
    let spans = KeptSpans::default();
    let host = TestHost::with(|options| options.tracer = spans.tracer(0.0)).await;
    host.turns.greet(greeting(None)).await.unwrap();
    assert_eq!(spans.names(), [""; 0]);

    let spans = KeptSpans::default();
    let mut host =
        TestHost::start_with("asking", "[\"openai\"]", |options| options.tracer = spans.tracer(0.0)).await;
    let (turns, request) = (host.turns.clone(), greeting(None));
    let sent = tokio::spawn(async move { turns.greet(request).await });
    host.upstream.next().await.refuse(500, None);
    let problem = sent.await.unwrap().unwrap_err();
    let spans = spans.all();
    assert_eq!(attribute(named(&spans, "greeting elara"), "error.type").unwrap(), problem.kind.name());
}
