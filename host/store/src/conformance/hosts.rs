//! What a host says of itself and hears in return: that it lives, which turns it runs, which of them a client wants to end. And
//! what it leaves to other hosts.

use super::fixtures::*;

/// How long another turn of the conversation would have to wait.
async fn busy_for(store: &Arc<dyn Store>, id: ConversationId) -> Duration {
    match admit(store, admission(Target::Existing(id), "Me too")).await {
        AdmissionOutcome::Busy { retry_after, .. } => retry_after,
        other => panic!("{other:?}"),
    }
}

async fn heartbeat(store: &Arc<dyn Store>, host: Uuid, turns: &[TurnId]) -> Heartbeat {
    let mut heard = store.heartbeat(host, turns, LONG).await.unwrap();
    heard.held.sort();
    heard
}

pub async fn a_heartbeat_renews_the_leases_of_the_named_turns_of_one_host(store: &Arc<dyn Store>) {
    let brief = |content| Admission { lease: LONG / 10, ..admission(new_conversation(), content) };
    let mine = start(store, brief("Mine")).await;
    let another = start(store, brief("Mine, too")).await;
    let other = start(store, Admission { host: other_host(), ..brief("Other") }).await;
    let ended = start(store, brief("Ended")).await;
    kept(store.fail(failure(&ended)).await);
    let forgotten = start(store, brief("Forgotten")).await;

    let named = [mine.turn, another.turn, other.turn, ended.turn];
    assert_eq!(heartbeat(store, host(), &named).await.held, [mine.turn, another.turn]);
    for (turn, is_renewed) in [(&mine, true), (&another, true), (&other, false), (&forgotten, false)] {
        let rest = busy_for(store, turn.conversation).await;
        assert_eq!(rest > LONG / 2, is_renewed, "{rest:?}");
    }
}

pub async fn a_host_hears_of_no_turn_and_no_other_host_where_there_is_none(store: &Arc<dyn Store>) {
    let alone = Heartbeat { live_hosts: 1, ..Heartbeat::default() };
    assert_eq!(heartbeat(store, host(), &[]).await, alone);
    assert_eq!(heartbeat(store, host(), &[TurnId::new()]).await, alone);
}

pub async fn a_turn_that_a_client_wants_to_end_is_named_to_its_host_until_it_has_ended(
    store: &Arc<dyn Store>,
) {
    let mine = start(store, admission(new_conversation(), "Mine")).await;
    let going_on = start(store, admission(new_conversation(), "Going on")).await;
    let other =
        start(store, Admission { host: other_host(), ..admission(new_conversation(), "Other") }).await;
    assert_eq!(store.request_cancel(&ada(), mine.turn).await.unwrap(), Some(host()));
    assert_eq!(store.request_cancel(&ada(), mine.turn).await.unwrap(), Some(host()), "again");
    assert_eq!(store.request_cancel(&ada(), other.turn).await.unwrap(), Some(other_host()));

    let named = [mine.turn, going_on.turn, other.turn];
    for _ in 0..2 {
        let heard = heartbeat(store, host(), &named).await;
        assert_eq!((heard.held, heard.cancel), (vec![mine.turn, going_on.turn], vec![mine.turn]));
    }
    assert_eq!(heartbeat(store, other_host(), &named).await.cancel, [other.turn]);
    kept(store.interrupt(interruption(&mine, Some("H"))).await);
    assert_eq!(heartbeat(store, host(), &named).await.cancel, []);
    assert_eq!(store.request_cancel(&ada(), mine.turn).await.unwrap(), None);
}

pub async fn only_a_running_turn_of_ones_own_can_be_asked_to_end(store: &Arc<dyn Store>) {
    let mine = start(store, admission(new_conversation(), "Mine")).await;
    for stranger in
        [owner("eve"), Owner { tenant: "other".into(), ..ada() }, Owner { issuer: "other".into(), ..ada() }]
    {
        assert_eq!(store.request_cancel(&stranger, mine.turn).await.unwrap(), None);
    }
    assert_eq!(heartbeat(store, host(), &[mine.turn]).await.cancel, [], "nothing was asked");
    assert_eq!(store.request_cancel(&ada(), TurnId::new()).await.unwrap(), None);
    expire(store, &mine).await;
    assert_eq!(store.request_cancel(&ada(), mine.turn).await.unwrap(), None, "its lease has expired");
    let deleted = start(store, admission(new_conversation(), "Deleted")).await;
    assert!(store.delete(&ada(), deleted.conversation).await.unwrap());
    assert_eq!(store.request_cancel(&ada(), deleted.turn).await.unwrap(), None);
}

pub async fn a_wish_to_end_a_turn_is_not_one_to_end_the_next(store: &Arc<dyn Store>) {
    let keyed = || Admission { idempotency: key("k"), ..admission(new_conversation(), "Hello") };
    let first = start(store, keyed()).await;
    store.request_cancel(&ada(), first.turn).await.unwrap();
    kept(store.fail(failure(&first)).await);
    let again = start(store, keyed()).await;
    assert_eq!(again.turn, first.turn);
    assert_eq!(heartbeat(store, host(), &[again.turn]).await.cancel, [], "a later attempt");

    store.request_cancel(&ada(), again.turn).await.unwrap();
    expire(store, &again).await;
    let next = start(store, admission(Target::Existing(first.conversation), "Next")).await;
    assert_eq!(heartbeat(store, host(), &[next.turn]).await.cancel, [], "another turn");
}

pub async fn a_host_leaves_the_jobs_of_plugins_that_it_does_not_have(store: &Arc<dyn Store>) {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    let jobs = vec![job("card"), job("card"), job("window")];
    kept(store.commit(Commit { jobs: jobs.clone(), ..reply(&started, "Hi") }).await);

    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let take = async |host, plugins: &[&str]| {
        let plugins = names(plugins);
        let taken = store.take(host, LONG, JobLimits::total(8), Some(&plugins)).await.unwrap();
        (taken.jobs.into_iter().map(|job| job.id).collect::<Vec<_>>(), taken.next_due)
    };
    assert_eq!(take(host(), &[]).await, (vec![], None));
    assert_eq!(take(host(), &["diary"]).await, (vec![], None), "nothing of it will be due");
    let (taken, due) = take(host(), &["diary", "window"]).await;
    assert_eq!(taken, [jobs[2].id]);
    assert!(due.is_some_and(|due| due > LONG / 2), "only its own lease can expire: {due:?}");
    assert_eq!(take(other_host(), &["card"]).await.0, [jobs[0].id]);
    assert_eq!(store.parked_jobs().await.unwrap(), []);
    assert_eq!(store.counts().await.unwrap().queued, 1);
}
