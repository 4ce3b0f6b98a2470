//! Single turns, from admission to end.

use serde_json::json;

use super::fixtures::*;

pub async fn an_admission_stores_the_turn_and_the_users_message_as_running(store: &Arc<dyn Store>) {
    let admission = admission(new_conversation(), "Hello");
    let started = start(store, admission.clone()).await;

    assert_eq!((started.turn, started.attempt, started.created), (admission.turn, 1, true));
    assert_eq!((started.companion.as_str(), started.last_sequence), ("elara", 0));
    assert_eq!(started.message.id, admission.message.id);
    assert_eq!(started.message.metadata, json!({ "of": "Hello" }));
    assert!(started.tail.is_empty());

    let turn = store.turn(&ada(), started.turn).await.unwrap().unwrap();
    assert_eq!((turn.status, turn.host, turn.ended_at), (TurnStatus::Running, host(), None));
    assert!(turn.created_at > 1_600_000_000_000, "{} is not in milliseconds", turn.created_at);
    let messages = transcript(store, started.conversation).await;
    assert_eq!(messages, [started.message]);
    assert_eq!(seen(&messages), [(1, "user", "running", "Hello")]);
}

pub async fn a_commit_keeps_reply_usage_and_response_and_completes_both_messages(store: &Arc<dyn Store>) {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    let kept = kept(store.commit(reply(&started, "Hi")).await).unwrap();
    assert_eq!(kept.parent, Some(started.message.id));

    let turn = store.turn(&ada(), started.turn).await.unwrap().unwrap();
    assert_eq!(turn.status, TurnStatus::Completed);
    assert_eq!(
        turn.usage,
        Some(UsageRecord { input_tokens: 11, output_tokens: 5, cached_tokens: 3, estimated: false })
    );
    assert_eq!((turn.finish.as_deref(), turn.response), (Some("stop"), Some(json!({ "reply": "Hi" }))));
    assert!(turn.ended_at >= Some(turn.created_at));
    assert_eq!(turn.reply, Some(kept));
    let messages = transcript(store, started.conversation).await;
    assert_eq!(seen(&messages), [(1, "user", "complete", "Hello"), (2, "assistant", "complete", "Hi")]);
    let conversation = store.conversation(&ada(), started.conversation).await.unwrap().unwrap();
    assert_eq!(conversation.messages, 2);
}

pub async fn an_estimated_usage_is_kept_as_one(store: &Arc<dyn Store>) {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    let mut commit = reply(&started, "Hi");
    commit.usage.estimated = true;
    kept(store.commit(commit).await);
    let turn = store.turn(&ada(), started.turn).await.unwrap().unwrap();
    assert!(turn.usage.unwrap().estimated);
}

pub async fn usage_past_what_a_column_holds_is_stored_as_the_largest_it_holds(store: &Arc<dyn Store>) {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    let mut commit = reply(&started, "Hi");
    commit.usage.input_tokens = u64::MAX;
    kept(store.commit(commit).await);
    let turn = store.turn(&ada(), started.turn).await.unwrap().unwrap();
    assert_eq!(turn.usage.unwrap().input_tokens, i64::MAX as u64);
}

pub async fn a_second_commit_of_the_same_epoch_answers_as_the_first_and_stores_nothing(
    store: &Arc<dyn Store>,
) {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    let mut commit = reply(&started, "Hi");
    commit.jobs.push(job("window"));
    let first = store.commit(commit.clone()).await.unwrap();
    let second = store.commit(commit).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(transcript(store, started.conversation).await.len(), 2);
    assert_eq!(store.counts().await.unwrap().queued, 1);
}

pub async fn a_turn_that_ended_one_way_does_not_end_another(store: &Arc<dyn Store>) {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    kept(store.interrupt(interruption(&started, Some("H"))).await);
    assert_eq!(store.commit(reply(&started, "Hi")).await.unwrap(), Ending::LeaseLost);
    assert_eq!(store.fail(failure(&started)).await.unwrap(), Ending::LeaseLost);
    let repeated = kept(store.interrupt(interruption(&started, Some("H"))).await);
    assert_eq!(repeated.unwrap().content, "H");
    assert_eq!(transcript(store, started.conversation).await.len(), 2);
}

pub async fn an_interruption_keeps_what_had_been_said(store: &Arc<dyn Store>) {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    let mut cut = interruption(&started, Some("Once upon"));
    cut.jobs.push(job("window"));
    kept(store.interrupt(cut).await).unwrap();

    let messages = transcript(store, started.conversation).await;
    assert_eq!(
        seen(&messages),
        [(1, "user", "interrupted", "Hello"), (2, "assistant", "interrupted", "Once upon")]
    );
    let turn = store.turn(&ada(), started.turn).await.unwrap().unwrap();
    assert_eq!((turn.status, turn.finish.as_deref()), (TurnStatus::Interrupted, Some("interrupted")));
    assert_eq!(store.counts().await.unwrap().queued, 1);
    // The exchange is part of the past of the next turn.
    let next = start(store, admission(Target::Existing(started.conversation), "And then?")).await;
    assert_eq!(contents(&next.tail), ["Hello", "Once upon"]);
}

pub async fn an_interruption_before_the_first_word_keeps_no_empty_message(store: &Arc<dyn Store>) {
    for content in [None, Some("")] {
        let started = start(store, admission(new_conversation(), "Hello")).await;
        assert_eq!(kept(store.interrupt(interruption(&started, content)).await), None);
        assert_eq!(transcript(store, started.conversation).await.len(), 1);
    }
}

pub async fn an_interrupted_question_that_is_sent_again_is_in_the_tail_once(store: &Arc<dyn Store>) {
    let first = exchange(store, new_conversation(), "One", "First").await;
    let here = || Target::Existing(first.conversation);
    let long = "x".repeat(100_000);
    for fragment in [None, Some("Sec"), Some(long.as_str())] {
        let cut = start(store, admission(here(), "Two")).await;
        assert_eq!(contents(&cut.tail), ["One", "First"], "without the earlier attempts");
        kept(store.interrupt(interruption(&cut, fragment)).await);
    }
    // Another question comes between, which was interrupted too.
    let other = start(store, admission(here(), "Three")).await;
    kept(store.interrupt(interruption(&other, None)).await);
    let again = start(store, admission(here(), " Two\n")).await;
    assert_eq!(contents(&again.tail), ["One", "First", "Three"]);
    assert_eq!(again.message.parent, Some(other.message.id));
    kept(store.commit(reply(&again, "Second")).await);
    let messages = transcript(store, first.conversation).await;
    let statuses: Vec<_> = seen(&messages[2..8]).into_iter().map(|(_, _, status, _)| status).collect();
    assert_eq!(statuses, ["interrupted"; 6], "the history has all of them");
    let page = TailLimit { messages: 100, bytes: 1 << 20 };
    let history = store.messages_before(&ada(), first.conversation, None, page).await.unwrap();
    assert_eq!(contents(&history), ["One", "First", "Three", " Two\n", "Second"]);
}

pub async fn a_lost_question_that_is_sent_again_is_in_the_tail_once(store: &Arc<dyn Store>) {
    let lost = start(store, Admission { lease: OVER, ..admission(new_conversation(), "Two") }).await;
    let again = start(store, admission(Target::Existing(lost.conversation), "Two")).await;
    assert!(again.tail.is_empty(), "{:?}", again.tail);
    assert_eq!(transcript(store, lost.conversation).await.len(), 2);
}

pub async fn a_failed_turn_stays_listed_and_out_of_every_later_tail(store: &Arc<dyn Store>) {
    let first = exchange(store, new_conversation(), "One", "First").await;
    let here = || Target::Existing(first.conversation);
    let lost = start(store, admission(here(), "Two")).await;
    assert_eq!(kept(store.fail(failure(&lost)).await), None);

    let turn = store.turn(&ada(), lost.turn).await.unwrap().unwrap();
    assert_eq!((turn.status, turn.problem), (TurnStatus::Failed, Some(json!({ "type": "upstream" }))));
    let messages = transcript(store, first.conversation).await;
    assert_eq!(seen(&messages)[2], (3, "user", "failed", "Two"));

    let third = start(store, admission(here(), "Three")).await;
    assert_eq!(contents(&third.tail), ["One", "First"]);
    assert_eq!((third.last_sequence, third.message.sequence), (3, 4));
    assert_eq!(third.message.parent, Some(messages[1].id), "it follows what is told of the past");
}

pub async fn each_message_names_the_one_before_it_as_its_parent(store: &Arc<dyn Store>) {
    let first = exchange(store, new_conversation(), "One", "First").await;
    exchange(store, Target::Existing(first.conversation), "Two", "Second").await;
    let messages = transcript(store, first.conversation).await;
    assert_eq!(contents(&messages), ["One", "First", "Two", "Second"]);
    assert_eq!(messages[0].parent, None);
    for pair in messages.windows(2) {
        assert_eq!(pair[1].parent, Some(pair[0].id));
    }
}

pub async fn the_tail_is_the_newest_whole_messages_within_both_limits(store: &Arc<dyn Store>) {
    let first = exchange(store, new_conversation(), "aaaa", "bbbb").await;
    let here = || Target::Existing(first.conversation);
    exchange(store, here(), "cccc", "éé").await;
    let cases: [(u32, usize, &[&str]); 7] = [
        (64, 65536, &["aaaa", "bbbb", "cccc", "éé"]),
        (3, 65536, &["bbbb", "cccc", "éé"]),
        (64, 12, &["bbbb", "cccc", "éé"]),
        (64, 11, &["cccc", "éé"]),
        (64, 3, &[]),
        (0, 65536, &[]),
        (1, 4, &["éé"]),
    ];
    for (messages, bytes, expected) in cases {
        let mut next = admission(here(), "next");
        next.tail = TailLimit { messages, bytes };
        let started = start(store, next).await;
        assert_eq!(contents(&started.tail), expected, "{messages} messages, {bytes} bytes");
        assert_eq!(started.last_sequence, started.message.sequence - 1);
        kept(store.fail(failure(&started)).await);
    }
}

pub async fn an_unknown_conversation_and_another_users_are_the_same(store: &Arc<dyn Store>) {
    let mine = exchange(store, new_conversation(), "One", "First").await;
    let mut foreign = admission(Target::Existing(mine.conversation), "Mine?");
    foreign.owner = owner("eve");
    assert_eq!(admit(store, foreign).await, AdmissionOutcome::UnknownConversation);
    let unknown = admission(Target::Existing(ConversationId::new()), "Anyone?");
    let turn = unknown.turn;
    assert_eq!(admit(store, unknown).await, AdmissionOutcome::UnknownConversation);
    assert_eq!(store.turn(&ada(), turn).await.unwrap(), None, "a turn that did not begin is not stored");

    for stranger in
        [owner("eve"), Owner { tenant: "other".into(), ..ada() }, Owner { issuer: "other".into(), ..ada() }]
    {
        assert_eq!(store.turn(&stranger, mine.turn).await.unwrap(), None);
        let mut commit = reply(&mine, "Stolen");
        commit.owner = stranger;
        assert_eq!(store.commit(commit).await.unwrap(), Ending::LeaseLost);
    }
}

pub async fn a_conversation_is_with_one_companion(store: &Arc<dyn Store>) {
    let first = exchange(store, new_conversation(), "One", "First").await;
    let mut next = admission(Target::Existing(first.conversation), "Two");
    next.companion = Some("dorian".into());
    assert_eq!(
        admit(store, next.clone()).await,
        AdmissionOutcome::OtherCompanion { companion: "elara".into() }
    );
    next.companion = Some("elara".into());
    start(store, next).await;
}

pub async fn an_admission_repeated_with_its_turn_id_starts_once(store: &Arc<dyn Store>) {
    for target in [new_conversation(), Target::Existing(empty(store).await)] {
        for key in [None, key(&TurnId::new().to_string())] {
            let mut again = admission(target.clone(), "Hello");
            again.idempotency = key;
            let first = start(store, again.clone()).await;
            let second = start(store, again).await;
            assert_eq!(Started { created: first.created, ..second }, first);
            kept(store.fail(failure(&first)).await);
            let messages = transcript(store, first.conversation).await;
            assert_eq!(messages.iter().filter(|message| message.turn == Some(first.turn)).count(), 1);
            if let Target::New { .. } = target {
                break;
            }
        }
    }
}

pub async fn an_id_that_is_taken_is_refused_and_changes_nothing(store: &Arc<dyn Store>) {
    let mine = exchange(store, new_conversation(), "One", "First").await;
    let mut clash = admission(
        Target::New { id: mine.conversation, companion: "elara".into(), title: "Mine".into() },
        "Hello",
    );
    clash.owner = owner("eve");
    assert!(matches!(store.admit(clash).await, Err(StoreError::Refused(_))));
    let mut clash = admission(Target::Existing(mine.conversation), "Hello");
    clash.message.id = mine.message.id;
    assert!(matches!(store.admit(clash).await, Err(StoreError::Refused(_))));

    assert_eq!(transcript(store, mine.conversation).await.len(), 2);
    start(store, admission(Target::Existing(mine.conversation), "The lease is free")).await;
}

pub async fn every_character_and_all_metadata_come_back_in_the_tail_as_in_the_list(store: &Arc<dyn Store>) {
    // Without U+0000, which no store keeps.
    let odd = "\u{1}\t\"\\/\u{7f}\u{2028}é\u{1f3ad}\u{10ffff}";
    let mut first = admission(new_conversation(), odd);
    first.message.metadata = json!({ odd: [odd, 1e300, -0.5, i64::MIN, u64::MAX, null, { "a": {} }] });
    let metadata = first.message.metadata.clone();
    let started = start(store, first).await;
    assert_eq!((started.message.content.as_str(), &started.message.metadata), (odd, &metadata));
    kept(store.commit(reply(&started, odd)).await);
    let next = start(store, admission(Target::Existing(started.conversation), "Next")).await;
    let listed = transcript(store, started.conversation).await;
    assert_eq!(next.tail, listed[..2]);
    assert_eq!(next.tail[0].metadata, metadata);
    assert_eq!(contents(&next.tail), [odd, odd]);
}
