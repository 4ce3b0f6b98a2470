//! The logs of turns.

use super::*;
use crate::{
    EVENT_PAGE_BYTES, EventPage, RUNNING_TURN_EVENTS_RETENTION, TURN_EVENTS_RETENTION, TurnEvents, TurnId,
};

/// A writer and a reader on another host.
async fn logs(fixture: &dyn SharedFixture) -> (Arc<dyn TurnEvents>, Arc<dyn TurnEvents>) {
    (fixture.host(host_id(1)).await.events, fixture.host(host_id(2)).await.events)
}

fn events(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn page(attempt: u32, names: &[&str], total: u64, has_ended: bool) -> Option<EventPage> {
    Some(EventPage { attempt, events: events(names), total, has_ended })
}

pub async fn events_are_read_back_in_order_from_any_place_of_the_log(fixture: &dyn SharedFixture) {
    let (writer, reader) = logs(fixture).await;
    let turn = TurnId::new();
    let odd = "\u{1F600} {\"a\": \"\\u0000\"}\r\n";
    assert!(writer.append(turn, 1, 0, &events(&["zero", odd]), false).await);
    assert!(writer.append(turn, 1, 2, &events(&["two"]), false).await);
    assert_eq!(reader.read(turn, 0).await, page(1, &["zero", odd, "two"], 3, false));
    assert_eq!(reader.read(turn, 2).await, page(1, &["two"], 3, false));
    assert_eq!(reader.read(turn, 3).await, page(1, &[], 3, false));
    assert_eq!(reader.read(turn, 9_999).await, page(1, &[], 3, false));
    assert!(writer.append(turn, 1, 3, &events(&["three"]), true).await);
    assert_eq!(reader.read(turn, 3).await, page(1, &["three"], 4, true));
}

pub async fn an_append_that_would_leave_a_gap_writes_nothing(fixture: &dyn SharedFixture) {
    let (writer, reader) = logs(fixture).await;
    let turn = TurnId::new();
    assert!(!writer.append(turn, 1, 1, &events(&["one"]), false).await);
    assert_eq!(reader.read(turn, 0).await, None);
    assert!(writer.append(turn, 1, 0, &events(&["zero"]), false).await);
    assert!(!writer.append(turn, 1, 2, &events(&["two"]), true).await);
    assert!(!writer.append(turn, 2, 1, &events(&["one"]), true).await, "a later attempt begins at zero");
    assert_eq!(reader.read(turn, 0).await, page(1, &["zero"], 1, false));
}

pub async fn an_append_that_comes_again_writes_nothing_twice(fixture: &dyn SharedFixture) {
    let (writer, reader) = logs(fixture).await;
    let turn = TurnId::new();
    assert!(writer.append(turn, 1, 0, &events(&["zero", "one"]), false).await);
    assert!(writer.append(turn, 1, 0, &events(&["zero", "one"]), false).await);
    assert!(writer.append(turn, 1, 1, &events(&["one", "two"]), true).await);
    assert!(writer.append(turn, 1, 1, &events(&["one", "two"]), true).await);
    assert_eq!(reader.read(turn, 0).await, page(1, &["zero", "one", "two"], 3, true));
}

pub async fn a_later_attempt_replaces_the_log_and_an_earlier_one_writes_nothing(fixture: &dyn SharedFixture) {
    let (writer, reader) = logs(fixture).await;
    let turn = TurnId::new();
    assert!(writer.append(turn, 1, 0, &events(&["first", "more", "end"]), true).await);
    assert!(writer.append(turn, 2, 0, &events(&["second"]), false).await);
    assert_eq!(reader.read(turn, 0).await, page(2, &["second"], 1, false));
    assert!(!writer.append(turn, 1, 0, &events(&["first"]), false).await);
    assert!(!writer.append(turn, 1, 3, &events(&["late"]), true).await);
    assert_eq!(reader.read(turn, 0).await, page(2, &["second"], 1, false));
}

pub async fn a_log_that_has_ended_takes_no_more_events(fixture: &dyn SharedFixture) {
    let (writer, reader) = logs(fixture).await;
    let turn = TurnId::new();
    assert!(writer.append(turn, 1, 0, &events(&["zero"]), true).await);
    assert!(!writer.append(turn, 1, 1, &events(&["one"]), false).await);
    assert_eq!(reader.read(turn, 0).await, page(1, &["zero"], 1, true));
}

pub async fn a_long_log_is_read_in_pages(fixture: &dyn SharedFixture) {
    let (writer, reader) = logs(fixture).await;
    let turn = TurnId::new();
    let written: Vec<String> = (0..2_000).map(|number| format!("{number:0>100}")).collect();
    let mut first = 0;
    for batch in written.chunks(150) {
        assert!(writer.append(turn, 1, first, batch, false).await);
        first += batch.len() as u64;
    }
    let (mut read, mut pages) = (Vec::new(), 0);
    while read.len() < written.len() {
        let page = reader.read(turn, read.len() as u64).await.unwrap();
        let bytes: usize = page.events.iter().map(String::len).sum();
        assert!(!page.events.is_empty() && bytes <= EVENT_PAGE_BYTES, "{bytes} bytes");
        assert_eq!(page.total, 2_000);
        read.extend(page.events);
        pages += 1;
    }
    assert_eq!(read, written);
    assert!(pages >= 4, "200 kB in {pages} pages");
}

pub async fn an_event_larger_than_a_page_is_a_page(fixture: &dyn SharedFixture) {
    let (writer, reader) = logs(fixture).await;
    let turn = TurnId::new();
    let large = "x".repeat(EVENT_PAGE_BYTES + 1);
    assert!(writer.append(turn, 1, 0, &[large.clone(), "after".into()], true).await);
    assert_eq!(reader.read(turn, 0).await, page(1, &[&large], 2, true));
    assert_eq!(reader.read(turn, 1).await, page(1, &["after"], 2, true));
}

pub async fn a_log_is_gone_some_time_after_its_last_event(fixture: &dyn SharedFixture) {
    let (writer, reader) = logs(fixture).await;
    let turn = TurnId::new();
    assert!(writer.append(turn, 3, 0, &events(&["zero"]), true).await);
    fixture.pass_time(TURN_EVENTS_RETENTION / 2).await;
    assert!(reader.read(turn, 0).await.is_some());
    fixture.pass_time(TURN_EVENTS_RETENTION).await;
    assert_eq!(reader.read(turn, 0).await, None);
    assert!(!writer.append(turn, 3, 1, &events(&["one"]), true).await, "what came before it is gone");
}

pub async fn the_log_of_a_turn_that_is_silent_for_long_stays_until_its_end(fixture: &dyn SharedFixture) {
    let (writer, reader) = logs(fixture).await;
    let turn = TurnId::new();
    assert!(writer.append(turn, 1, 0, &events(&["zero"]), false).await);
    fixture.pass_time(TURN_EVENTS_RETENTION * 2).await;
    assert!(writer.append(turn, 1, 1, &events(&["one"]), true).await);
    assert_eq!(reader.read(turn, 0).await, page(1, &["zero", "one"], 2, true));
    fixture.pass_time(TURN_EVENTS_RETENTION * 2).await;
    assert_eq!(reader.read(turn, 0).await, None);
}

pub async fn an_append_keeps_the_log(fixture: &dyn SharedFixture) {
    let (writer, reader) = logs(fixture).await;
    let turn = TurnId::new();
    for first in 0..3 {
        assert!(writer.append(turn, 1, first, &events(&["event"]), false).await);
        fixture.pass_time(RUNNING_TURN_EVENTS_RETENTION * 2 / 3).await;
    }
    assert_eq!(reader.read(turn, 2).await, page(1, &["event"], 3, false));
}

pub async fn a_turn_without_a_log_has_nothing_to_read(fixture: &dyn SharedFixture) {
    let (writer, reader) = logs(fixture).await;
    assert!(writer.append(TurnId::new(), 1, 0, &events(&["of another"]), true).await);
    assert_eq!(reader.read(TurnId::new(), 0).await, None);
}
