//! The checkers of these tests, checked: each finds a fault of its kind that is planted in an installation that runs.

use masque_tests::{Answer, eventually};

use super::consistency::half_written;
use super::findings::Findings;
use super::installation::Installation;
use super::load::Load;
use super::user::{User, mixed_prompts};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_an_answer_to_another_user_is_found_with_and_without_a_stream() {
    let installation = Installation::with_users(1).await;
    let balancer = installation.balancer().await;
    let load = Load::start(2, &balancer);
    let secrets: Vec<_> = load.users().iter().map(User::secret).collect();
    let told = format!("Others said {}.", secrets.join(" and "));
    // One user talks by streams, the other does not.
    eventually("both users to be told of the other", || async {
        installation.model.next(Answer::says(&told));
        let foreign = load.foreign();
        secrets.iter().all(|secret| foreign.iter().any(|found| found == secret)).then_some(())
    })
    .await;
    let found = load.finish(&balancer.client()).await;
    assert!(!found.lost.is_empty(), "the replies are not those that were expected: {found:?}");
    assert!(!found.foreign.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_planted_in_the_database_is_found_by_its_kind() {
    let installation = Installation::with_users(1).await;
    let balancer = installation.balancer().await;
    let client = balancer.client();
    let load = Load::start(2, &balancer);
    load.progress(8).await;
    let told = load.stop().await;
    assert_eq!(told.compare(&client).await, Findings::default());
    assert_eq!(half_written(&installation).await, "");
    let [one, other] = told.spoken.as_slice() else { panic!("two users") };
    let text_of = |sequence: u32| {
        format!(
            "(SELECT text FROM messages WHERE conversation = '{}' AND sequence = {sequence})",
            one.conversation
        )
    };
    let put = |sequence: u32, text: &str| {
        let place = format!("conversation = '{}' AND sequence = {sequence}", one.conversation);
        installation.query(&format!("UPDATE messages SET text = {text} WHERE {place}"));
    };
    let first = installation.query(&text_of(1));

    // A message that another one has taken the place of is lost, and the other is there twice.
    put(1, &text_of(2));
    let found = told.compare(&client).await;
    assert_eq!((found.lost.as_slice(), found.doubled.len()), ([first.clone()].as_slice(), 1), "{found:?}");
    put(1, &format!("'{first}'"));
    assert_eq!(told.compare(&client).await, Findings::default());

    // A secret of another user in the history.
    put(1, &format!("'{first} {}'", other.user.secret()));
    let found = told.compare(&client).await;
    assert!(found.foreign.iter().any(|secret| secret == other.user.secret()), "{found:?}");
    put(1, &format!("'{first}'"));

    // A conversation that another user can read.
    let owner_of = |conversation: &str| {
        installation.query(&format!("SELECT user_id FROM conversations WHERE id = '{conversation}'"))
    };
    let give = |conversation: &str, owner: &str| {
        installation
            .query(&format!("UPDATE conversations SET user_id = '{owner}' WHERE id = '{conversation}'"));
    };
    let (owner, stranger) = (owner_of(&one.conversation), owner_of(&other.conversation));
    give(&one.conversation, &stranger);
    let found = told.compare(&client).await;
    assert!(found.foreign.iter().any(|found| found.contains("answered with 200")), "{found:?}");
    assert!(found.foreign.iter().any(|secret| secret == one.user.secret()), "{found:?}");
    assert_eq!(found.lost.len(), 2 * one.acknowledged.len(), "{found:?}");
    give(&one.conversation, &owner);
    assert_eq!(told.compare(&client).await, Findings::default());

    // A turn that says that it is complete, and has no reply.
    installation.query("DELETE FROM messages WHERE id = (SELECT reply FROM turns ORDER BY id LIMIT 1)");
    let half = half_written(&installation).await;
    assert!(half.contains("a complete turn without its message and its reply"), "{half}");
    assert!(half.contains("a conversation whose sequences have gaps"), "{half}");
}

#[tokio::test]
async fn a_prompt_with_the_secrets_of_two_users_is_found() {
    let installation = Installation::with_users(1).await;
    let (one, other) = (User::new(0), User::new(1));
    let client = installation.client(0);
    one.of(&client).say(&one.message(0)).await;
    other.of(&client).say(&other.message(0)).await;
    assert_eq!(mixed_prompts(&installation.model), Vec::<String>::new());
    one.of(&client).say(&format!("{} {}", one.message(1), other.secret())).await;
    assert_eq!(mixed_prompts(&installation.model).len(), 1);
}
