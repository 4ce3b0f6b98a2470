//! Conversations are listed, read, renamed and deleted by their owner only.

use super::fixtures::*;

fn greeted() -> NewConversation {
    NewConversation {
        id: ConversationId::new(),
        companion: "elara".into(),
        title: None,
        greeting: Some(said("Welcome")),
    }
}

pub async fn a_greeting_is_the_first_message_and_the_past_of_the_first_turn(store: &Arc<dyn Store>) {
    let new = greeted();
    let made = store.create(&ada(), new.clone()).await.unwrap();
    assert_eq!((made.id, made.companion.as_str(), made.messages), (new.id, "elara", 1));

    let first = start(store, admission(Target::Existing(new.id), "Hello")).await;
    assert!(!first.created);
    assert_eq!(seen(&first.tail), [(1, "assistant", "complete", "Welcome")]);
    assert_eq!(first.tail[0].turn, None);
    assert_eq!((first.last_sequence, first.message.sequence), (1, 2));
    assert_eq!(first.message.parent, Some(new.greeting.unwrap().id));
}

pub async fn a_conversation_without_a_title_takes_it_from_its_first_message_and_keeps_it(
    store: &Arc<dyn Store>,
) {
    let id = empty(store).await;
    let title = async || store.conversation(&ada(), id).await.unwrap().unwrap().title;
    assert_eq!(title().await, None);
    exchange(store, Target::Existing(id), "Tell me a story\nA long one", "Once").await;
    assert_eq!(title().await.as_deref(), Some("Tell me a story"));
    exchange(store, Target::Existing(id), "Another", "Twice").await;
    assert_eq!(title().await.as_deref(), Some("Tell me a story"));
}

pub async fn renaming_is_the_owners_alone(store: &Arc<dyn Store>) {
    let id = empty(store).await;
    assert_eq!(store.rename(&owner("eve"), id, "Mine".into()).await.unwrap(), None);
    let renamed = store.rename(&ada(), id, "Ours".into()).await.unwrap().unwrap();
    assert_eq!(renamed.title.as_deref(), Some("Ours"));
    assert_eq!(store.conversation(&ada(), id).await.unwrap(), Some(renamed));
}

pub async fn another_users_conversation_is_an_unknown_one(store: &Arc<dyn Store>) {
    let started = exchange(store, new_conversation(), "Hello", "Hi").await;
    let (mine, message) = (started.conversation, started.message.id);
    let page = || Page { limit: 10, after: None };
    for stranger in
        [owner("eve"), Owner { tenant: "other".into(), ..ada() }, Owner { issuer: "other".into(), ..ada() }]
    {
        assert_eq!(store.conversation(&stranger, mine).await.unwrap(), None);
        assert_eq!(store.messages(&stranger, mine, page()).await.unwrap(), None);
        assert_eq!(store.messages_before(&stranger, mine, None, few(10)).await.unwrap(), []);
        assert_eq!(store.messages_by_id(&stranger, &[message]).await.unwrap(), []);
        assert!(store.conversations(&stranger, page()).await.unwrap().items.is_empty());
        let with_elara = store.conversations_with(&stranger, &set_of(&["elara"]), page()).await.unwrap();
        assert!(with_elara.items.is_empty());
        assert!(!store.delete(&stranger, mine).await.unwrap());
    }
    assert_eq!(transcript(store, mine).await.len(), 2);
}

pub async fn the_list_is_newest_first_and_its_cursor_stands_still_while_it_grows(store: &Arc<dyn Store>) {
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(empty(store).await);
    }
    made.reverse();
    let ids = |page: &Paged<ConversationRecord>| page.items.iter().map(|item| item.id).collect::<Vec<_>>();
    let first = store.conversations(&ada(), Page { limit: 2, after: None }).await.unwrap();
    assert_eq!(ids(&first), made[..2]);
    // A new conversation and a change to an old one move nothing that is still to come.
    empty(store).await;
    store.rename(&ada(), made[4], "Changed".into()).await.unwrap();
    let second = store.conversations(&ada(), Page { limit: 2, after: first.next }).await.unwrap();
    assert_eq!(ids(&second), made[2..4]);
    let third = store.conversations(&ada(), Page { limit: 2, after: second.next }).await.unwrap();
    assert_eq!(ids(&third), made[4..]);
    assert_eq!(third.next, None);
}

fn set_of(companions: &[&str]) -> std::collections::BTreeSet<String> {
    companions.iter().map(|name| (*name).to_owned()).collect()
}

pub async fn a_list_of_some_companions_leaves_out_the_others_and_its_pages_are_full(store: &Arc<dyn Store>) {
    let mut made = Vec::new();
    for companion in ["elara", "ida", "ida", "mia", "elara", "ida", "mia", "ida"] {
        let new = NewConversation { id: ConversationId::new(), companion: companion.into(), ..greeted() };
        made.push((store.create(&ada(), new.clone()).await.unwrap().id, companion));
    }
    // What is deleted is in no list, and takes no place in a page.
    store.delete(&ada(), made.remove(5).0).await.unwrap();
    made.reverse();
    for companions in
        [&["elara"][..], &["ida"], &["elara", "mia"], &["elara", "ida", "mia"], &["nobody"], &[]]
    {
        let expected: Vec<_> =
            made.iter().filter(|(_, companion)| companions.contains(companion)).map(|(id, _)| *id).collect();
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = Page { limit: 2, after };
            let page = store.conversations_with(&ada(), &set_of(companions), page).await.unwrap();
            assert!(page.next.is_none() || page.items.len() == 2, "a page before the last is full");
            seen.extend(page.items.iter().map(|item| item.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "{companions:?}");
    }
}

pub async fn messages_come_oldest_first_in_pages_that_meet(store: &Arc<dyn Store>) {
    let id = empty(store).await;
    for number in 0..3 {
        exchange(store, Target::Existing(id), &format!("q{number}"), &format!("a{number}")).await;
    }
    let mut after = None;
    let mut all = Vec::new();
    loop {
        let page = store.messages(&ada(), id, Page { limit: 4, after }).await.unwrap().unwrap();
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
        exchange(store, Target::Existing(id), "late", "later").await;
    }
    assert_eq!(contents(&all), ["q0", "a0", "q1", "a1", "q2", "a2", "late", "later"]);
    let exact = store.messages(&ada(), id, Page { limit: 8, after: None }).await.unwrap().unwrap();
    assert_eq!(exact.next, None, "a page that ends the list names no next one");
}

pub async fn a_page_of_long_messages_ends_at_its_bytes_and_the_pages_meet(store: &Arc<dyn Store>) {
    let id = empty(store).await;
    // Its metadata has the text once more.
    let long = "x".repeat(MAX_PAGE_BYTES / 8);
    let longer_than_a_page = "y".repeat(MAX_PAGE_BYTES + 1);
    exchange(store, Target::Existing(id), &long, &long).await;
    exchange(store, Target::Existing(id), &long, &longer_than_a_page).await;
    exchange(store, Target::Existing(id), "q", "a").await;
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = store.messages(&ada(), id, Page { limit: 200, after }).await.unwrap().unwrap();
        pages.push(page.items.iter().map(|message| message.sequence).collect::<Vec<_>>());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![1, 2, 3], vec![4], vec![5, 6]]);
}

pub async fn a_cursor_of_something_else_is_refused(store: &Arc<dyn Store>) {
    let id = empty(store).await;
    let page = || Page { limit: 2, after: Some("nonsense".into()) };
    assert!(matches!(store.conversations(&ada(), page()).await, Err(StoreError::Refused(_))));
    let listed = store.conversations_with(&ada(), &set_of(&["elara"]), page()).await;
    assert!(matches!(listed, Err(StoreError::Refused(_))));
    assert!(matches!(store.messages(&ada(), id, page()).await, Err(StoreError::Refused(_))));
}

fn few(messages: u32) -> TailLimit {
    TailLimit { messages, bytes: 1 << 20 }
}

pub async fn history_ends_where_its_bytes_do_and_the_newest_message_always_fits(store: &Arc<dyn Store>) {
    let id = empty(store).await;
    for (question, answer) in [("q0", "a0"), ("four", "é"), ("q2", "seventeen letters")] {
        exchange(store, Target::Existing(id), question, answer).await;
    }
    let within = async |bytes| {
        let limit = TailLimit { messages: 10, bytes };
        let messages = store.messages_before(&ada(), id, None, limit).await.unwrap();
        messages.into_iter().map(|message| message.content).collect::<Vec<_>>()
    };
    assert_eq!(within(1000).await.len(), 6);
    // Bytes, not letters: `é` has two.
    assert_eq!(within(17 + 2 + 2).await, ["é", "q2", "seventeen letters"]);
    assert_eq!(
        within(17 + 2 + 2 + 3).await,
        ["é", "q2", "seventeen letters"],
        "nothing is left out in between"
    );
    assert_eq!(within(1).await, ["seventeen letters"]);
}

pub async fn history_is_what_came_before_without_failed_turns(store: &Arc<dyn Store>) {
    let id = empty(store).await;
    exchange(store, Target::Existing(id), "q0", "a0").await;
    let lost = start(store, admission(Target::Existing(id), "lost")).await;
    kept(store.fail(failure(&lost)).await);
    let second = exchange(store, Target::Existing(id), "q1", "a1").await;

    let history = async |before: Option<MessageId>, limit| {
        let messages = store.messages_before(&ada(), id, before, few(limit)).await.unwrap();
        messages.into_iter().map(|message| message.content).collect::<Vec<_>>()
    };
    assert_eq!(history(None, 10).await, ["q0", "a0", "q1", "a1"]);
    assert_eq!(history(Some(second.message.id), 10).await, ["q0", "a0"]);
    assert_eq!(history(Some(second.message.id), 1).await, ["a0"]);
    assert!(history(Some(MessageId::new()), 10).await.is_empty());
    let other = exchange(store, new_conversation(), "elsewhere", "far").await;
    assert!(
        history(Some(other.message.id), 10).await.is_empty(),
        "another conversation's message is unknown"
    );
}

pub async fn messages_are_found_by_their_ids_in_all_conversations_of_their_user_alone(
    store: &Arc<dyn Store>,
) {
    let first = exchange(store, new_conversation(), "q0", "a0").await;
    let id = first.conversation;
    let lost = start(store, admission(Target::Existing(id), "lost")).await;
    kept(store.fail(failure(&lost)).await);
    let other = exchange(store, new_conversation(), "elsewhere", "far").await;
    let bens = Admission { owner: owner("ben"), ..admission(new_conversation(), "I am Ben") };
    let bens = start(store, bens).await;
    let wanted = [
        other.message.id,
        lost.message.id,
        MessageId::new(),
        first.message.id,
        bens.message.id,
        lost.message.id,
    ];
    let seen = async || {
        let found = store.messages_by_id(&ada(), &wanted).await.unwrap();
        found.into_iter().map(|message| (message.content, message.status)).collect::<Vec<_>>()
    };
    let said = |content: &str, status: &str| (content.to_owned(), status.to_owned());
    let elsewhere = said("elsewhere", "complete");
    assert_eq!(seen().await, [said("q0", "complete"), said("lost", "failed"), elsewhere.clone()]);
    assert_eq!(store.messages_by_id(&ada(), &[]).await.unwrap(), []);
    assert!(store.delete(&ada(), id).await.unwrap());
    assert_eq!(seen().await, [elsewhere], "those of a deleted conversation are gone");
}

pub async fn deleting_takes_everything_and_a_running_turn_can_not_commit(store: &Arc<dyn Store>) {
    let first = start(store, admission(new_conversation(), "One")).await;
    let mut commit = reply(&first, "First");
    commit.jobs.push(job("window"));
    kept(store.commit(commit).await);
    let running = start(store, admission(Target::Existing(first.conversation), "Two")).await;

    assert!(store.delete(&ada(), first.conversation).await.unwrap());
    assert!(!store.delete(&ada(), first.conversation).await.unwrap());
    let mut commit = reply(&running, "Late");
    commit.jobs.push(job("window"));
    assert_eq!(store.commit(commit).await.unwrap(), Ending::LeaseLost);
    assert_eq!(store.interrupt(interruption(&running, Some("L"))).await.unwrap(), Ending::LeaseLost);
    assert_eq!(store.fail(failure(&running)).await.unwrap(), Ending::LeaseLost);

    assert_eq!(store.conversation(&ada(), first.conversation).await.unwrap(), None);
    assert_eq!(store.turn(&ada(), first.turn).await.unwrap(), None);
    assert_eq!(store.turn(&ada(), running.turn).await.unwrap(), None);
    assert_eq!(store.counts().await.unwrap(), JobCounts::default());
    assert_eq!(store.heartbeat(host(), &[first.turn, running.turn], LONG).await.unwrap().held, []);
    let outcome = admit(store, admission(Target::Existing(first.conversation), "Anyone?")).await;
    assert_eq!(outcome, AdmissionOutcome::UnknownConversation);
}
