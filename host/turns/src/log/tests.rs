//! What readers of a log can rely on, whenever they come.

use std::sync::Arc;
use std::time::Duration;

use masque_problem::Problem;
use masque_store::{ConversationId, TurnId};
use serde_json::Value;
use tokio::time::Instant;

use super::event_log::LogFull;
use super::reader::{MAX_BYTES_PER_READ, MAX_EVENTS_PER_READ};
use super::*;

fn log(limit: usize) -> Arc<EventLog> {
    EventLog::new(TurnId::new(), ConversationId::new(), "elara".into(), limit)
}

fn response() -> Arc<Value> {
    Arc::new(serde_json::json!({ "finish": "stop" }))
}

async fn all(mut reader: EventReader) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    while let Some(more) = reader.next().await {
        events.extend(more);
    }
    events
}

fn text(events: &[Arc<Event>]) -> String {
    events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Delta { text } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_late_reader_sees_what_an_early_one_saw() {
    let log = log(1024);
    log.open();
    let mut early = log.reader(None);
    let mut seen = early.next().await.unwrap();
    for word in ["one ", "two ", "three"] {
        log.write(word).unwrap();
        seen.extend(early.next().await.unwrap());
    }
    log.end(TurnEnd::Completed(response()));
    seen.extend(early.next().await.unwrap());
    assert!(early.next().await.is_none());
    assert_eq!(all(log.reader(None)).await, seen);
    assert_eq!(seen.iter().map(|event| event.sequence).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(all(log.reader(Some(2))).await, seen[3..]);
    assert!(all(log.reader(Some(4))).await.is_empty());
    assert!(all(log.reader(Some(u64::MAX))).await.is_empty());
}

#[test]
fn what_follows_an_event_depends_on_whether_it_was_the_last() {
    let log = log(1024);
    log.open();
    log.write("one").unwrap();
    assert_eq!(
        [0, 1, 2].map(|id| log.resume_point(id)),
        [ResumePoint::MoreEvents, ResumePoint::MoreEvents, ResumePoint::Unknown]
    );
    log.end(TurnEnd::Completed(response()));
    assert_eq!(
        [1, 2, 3].map(|id| log.resume_point(id)),
        [ResumePoint::MoreEvents, ResumePoint::End, ResumePoint::Unknown]
    );
    assert_eq!(log.resume_point(u64::MAX), ResumePoint::Unknown);
}

#[tokio::test]
async fn text_that_no_one_has_read_is_one_event() {
    let log = log(1024);
    log.open();
    for word in ["one ", "two ", "three"] {
        log.write(word).unwrap();
    }
    let mut reader = log.reader(None);
    let first = reader.next().await.unwrap();
    assert_eq!(first.len(), 2);
    log.write(" four").unwrap();
    log.write(" five").unwrap();
    assert_eq!(text(&first), "one two three", "what was handed out does not change");
    assert_eq!(text(&reader.next().await.unwrap()), " four five");
}

#[tokio::test]
async fn one_read_takes_a_bounded_part_and_all_reads_take_everything() {
    for (piece, events) in [("x".to_owned(), MAX_EVENTS_PER_READ), ("x".repeat(MAX_BYTES_PER_READ / 8), 9)] {
        let log = log(usize::MAX);
        log.open();
        let mut early = log.reader(None);
        let mut seen = early.next().await.unwrap();
        for _ in 0..3 * MAX_EVENTS_PER_READ {
            log.write(&piece).unwrap();
            seen.extend(early.next().await.unwrap());
        }
        log.end(TurnEnd::Completed(response()));
        seen.extend(early.next().await.unwrap());
        assert_eq!(log.reader(None).next().await.unwrap().len(), events);
        assert_eq!(all(log.reader(None)).await, seen);
    }
}

#[tokio::test]
async fn a_long_text_is_divided_so_that_each_event_fits_a_line() {
    // As JSON, each of these characters has six bytes.
    let long = "\u{1}é".repeat(50_000);
    let (whole, replayed) = (log(usize::MAX), {
        EventLog::replay(TurnId::new(), ConversationId::new(), "elara".into(), &long, response())
    });
    whole.open();
    assert_eq!(whole.write(&long), Ok(long.len()));
    whole.write("the end").unwrap();
    whole.end(TurnEnd::Completed(response()));
    for (log, expected) in [(whole, format!("{long}the end")), (replayed, long)] {
        let events = all(log.reader(None)).await;
        assert_eq!(text(&events), expected);
        for event in &events {
            let EventKind::Delta { text } = &event.kind else { continue };
            let line = serde_json::to_string(text).unwrap();
            assert!(line.len() < (64 << 10) - 200, "{} bytes", line.len());
        }
        let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, (0..events.len() as u64).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn nothing_is_visible_before_the_log_is_open() {
    let log = log(1024);
    log.write("early").unwrap();
    let mut reader = log.reader(None);
    assert!(futures::poll!(Box::pin(reader.next())).is_pending());
    log.open();
    assert_eq!(reader.next().await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_reply_stops_at_its_limit_between_two_characters() {
    let log = log(4);
    log.open();
    assert_eq!(log.write("abc"), Ok(3));
    assert_eq!(log.write("é"), Err(LogFull { written: 0 }));
    assert_eq!(log.write("de"), Err(LogFull { written: 1 }));
    log.end(TurnEnd::Completed(response()));
    assert_eq!(text(&all(log.reader(None)).await), "abcd");
}

#[tokio::test]
async fn only_the_first_end_counts() {
    let log = log(16);
    log.end(TurnEnd::Completed(response()));
    log.end(TurnEnd::Failed(Problem::from(masque_problem::Kind::Internal)));
    assert_eq!(all(log.reader(None)).await.len(), 2);
    assert!(matches!(log.turn_end(), Some(TurnEnd::Completed(_))));
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_abandoned_only_when_no_one_came_back_in_time() {
    let log = log(16);
    let reader = log.reader(None);
    let mut abandoned = Box::pin(log.abandoned(Duration::from_secs(1)));
    assert!(futures::poll!(&mut abandoned).is_pending());
    drop(reader);
    assert!(futures::poll!(&mut abandoned).is_pending());
    tokio::time::advance(Duration::from_millis(900)).await;
    let back = log.reader(None);
    assert!(futures::poll!(&mut abandoned).is_pending());
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(futures::poll!(&mut abandoned).is_pending());
    drop(back);
    let began = Instant::now();
    abandoned.await;
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn headers_wait_for_the_first_sign_of_life_but_not_longer_than_the_hold() {
    let hold = Duration::from_secs(10);
    let quiet = log(16);
    quiet.open();
    let began = Instant::now();
    assert_eq!(quiet.wait_for_headers(hold).await, None);
    assert!(began.elapsed() >= hold);

    let thinking = log(16);
    thinking.open();
    thinking.begin();
    let began = Instant::now();
    assert_eq!(thinking.wait_for_headers(hold).await, None);
    assert!(began.elapsed() < hold);
}

#[tokio::test(start_paused = true)]
async fn headers_never_leave_before_the_admission_is_on_disk() {
    let log = log(16);
    log.begin();
    let mut headers = Box::pin(log.wait_for_headers(Duration::from_secs(10)));
    assert!(futures::poll!(&mut headers).is_pending());
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(futures::poll!(&mut headers).is_pending());
    log.open();
    assert_eq!(headers.await, None);
}

#[tokio::test]
async fn a_failure_before_the_first_sign_of_life_is_the_answer() {
    let log = log(16);
    log.open();
    let problem = Problem::from(masque_problem::Kind::ModelUnavailable);
    log.end(TurnEnd::Failed(problem.clone()));
    assert_eq!(log.wait_for_headers(Duration::from_secs(10)).await, Some(TurnEnd::Failed(problem)));
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_nothing_of_a_turn_whose_lease_may_have_ended() {
    let log = log(1024);
    log.open();
    log.write("one ").unwrap();
    log.renew_lease(Instant::now() + Duration::from_secs(30));
    let mut early = log.reader(None);
    assert_eq!(text(&early.next().await.unwrap()), "one ");
    log.write("two").unwrap();
    tokio::time::advance(Duration::from_secs(28)).await;
    log.renew_lease(Instant::now() + Duration::from_secs(30));
    tokio::time::advance(Duration::from_secs(28)).await;
    assert_eq!(text(&early.next().await.unwrap()), "two", "the lease was renewed");
    log.write(" three").unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    for (reader, sequence) in [(early, 3), (log.reader(None), 0), (log.reader(Some(1)), 2)] {
        let events = all(reader).await;
        let [event] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(event.sequence, sequence);
        let EventKind::Failed(problem) = &event.kind else { panic!("{event:?}") };
        assert_eq!(problem.kind, masque_problem::Kind::LeaseLost);
    }
    log.lease_over().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_ended_under_its_lease_can_be_read_after_it() {
    let (in_time, completed_late, failed_late) = (log(1024), log(1024), log(1024));
    for log in [&in_time, &completed_late, &failed_late] {
        log.open();
        log.write("one").unwrap();
        log.renew_lease(Instant::now() + Duration::from_secs(30));
    }
    let failed = || TurnEnd::Failed(Problem::from(masque_problem::Kind::ModelStalled));
    in_time.end(failed());
    tokio::time::advance(Duration::from_secs(60)).await;
    // The store takes a complete exchange only from the turn that has the lease.
    completed_late.end(TurnEnd::Completed(response()));
    failed_late.end(failed());
    assert_eq!(all(in_time.reader(None)).await.len(), 3);
    assert_eq!(all(completed_late.reader(None)).await.len(), 3);
    assert_eq!(all(failed_late.reader(None)).await.len(), 1, "what was said may be another attempt's by now");
}

#[tokio::test(start_paused = true)]
async fn an_observer_reads_everything_and_keeps_no_turn_running() {
    let log = log(1024);
    log.open();
    let mut observer = log.observer();
    log.write("one").unwrap();
    assert_eq!(observer.next().await.unwrap().len(), 2);
    log.abandoned(Duration::from_secs(1)).await;
    drop(observer);
    assert_eq!(log.reader_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_copy_has_the_events_of_its_log_and_refuses_a_gap() {
    let original = log(1024);
    original.open();
    let mut reader = original.reader(None);
    let mut events = Vec::new();
    for word in ["one ", "two"] {
        original.write(word).unwrap();
        events.extend(reader.next().await.unwrap());
    }
    original.end(TurnEnd::Completed(response()));
    events.extend(reader.next().await.unwrap());
    let EventKind::Created { turn_id, conversation_id, companion } = &events[0].kind else { panic!() };
    let copy = EventLog::new(*turn_id, *conversation_id, companion.clone(), usize::MAX);
    let event = |index: usize| (*events[index]).clone();
    assert!(copy.append_copy(event(0)));
    let headers = Instant::now();
    assert!(!copy.append_copy(event(2)), "one is missing");
    assert!(copy.append_copy(event(1)) && copy.append_copy(event(1)) && copy.append_copy(event(2)));
    assert_eq!(copy.wait_for_headers(Duration::from_secs(10)).await, None);
    assert_eq!(headers.elapsed(), Duration::ZERO, "the model has begun elsewhere");
    assert_eq!(copy.text(), "one two");
    assert!(copy.append_copy(event(3)) && copy.has_ended());
    assert_eq!(all(copy.reader(None)).await, events);
}
