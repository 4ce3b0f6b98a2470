//! Places for concurrent turns.

use super::*;
use crate::{Owner, TURN_SLOT_LIFETIME, TurnSlots};

async fn hosts(fixture: &dyn SharedFixture) -> (Arc<dyn TurnSlots>, Arc<dyn TurnSlots>) {
    (fixture.host(host_id(1)).await.slots, fixture.host(host_id(2)).await.slots)
}

fn holder(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub async fn a_user_has_as_many_places_as_the_limit(fixture: &dyn SharedFixture) {
    let (one, two) = hosts(fixture).await;
    assert!(one.take(&user("ada"), holder(1), 2).await);
    assert!(two.take(&user("ada"), holder(2), 2).await);
    assert!(!one.take(&user("ada"), holder(3), 2).await);
    assert!(!two.take(&user("ada"), holder(3), 2).await);
    assert!(two.take(&user("ada"), holder(3), 3).await);
    assert!(!two.take(&user("ada"), holder(4), 0).await);
}

pub async fn a_holder_that_asks_again_has_its_place(fixture: &dyn SharedFixture) {
    let (one, _) = hosts(fixture).await;
    assert!(one.take(&user("ada"), holder(1), 1).await);
    assert!(one.take(&user("ada"), holder(1), 1).await);
    assert!(!one.take(&user("ada"), holder(2), 1).await);
    one.release(&user("ada"), holder(1)).await;
    assert!(one.take(&user("ada"), holder(2), 1).await, "it had one place");
}

pub async fn users_do_not_share_places(fixture: &dyn SharedFixture) {
    let (one, two) = hosts(fixture).await;
    let named = |tenant: &str, issuer: &str, subject: &str| Owner {
        tenant: tenant.into(),
        issuer: issuer.into(),
        subject: subject.into(),
    };
    let users = [
        named("a", "b", "c"),
        named("ab", "", "c"),
        named("a", "bc", ""),
        named("", "ab", "c"),
        named("a", "b", "c}"),
        named("a:b", "c", ""),
    ];
    for (number, user) in (1..).zip(&users) {
        assert!(one.take(user, holder(number), 1).await, "{user:?}");
        assert!(!two.take(user, holder(99), 1).await, "{user:?}");
    }
}

pub async fn a_place_that_is_given_back_is_free(fixture: &dyn SharedFixture) {
    let (one, two) = hosts(fixture).await;
    assert!(one.take(&user("ada"), holder(1), 1).await);
    assert!(!two.take(&user("ada"), holder(2), 1).await);
    one.release(&user("ada"), holder(1)).await;
    assert!(two.take(&user("ada"), holder(2), 1).await);
}

pub async fn giving_back_what_is_not_held_does_nothing(fixture: &dyn SharedFixture) {
    let (one, _) = hosts(fixture).await;
    one.release(&user("ada"), holder(1)).await;
    assert!(one.take(&user("ada"), holder(1), 1).await);
    one.release(&user("ada"), holder(2)).await;
    one.release(&user("bob"), holder(1)).await;
    assert!(!one.take(&user("ada"), holder(2), 1).await);
}

pub async fn a_place_is_free_after_its_lifetime(fixture: &dyn SharedFixture) {
    let (one, two) = hosts(fixture).await;
    assert!(one.take(&user("ada"), holder(1), 1).await);
    fixture.pass_time(TURN_SLOT_LIFETIME / 2).await;
    assert!(!two.take(&user("ada"), holder(2), 1).await);
    fixture.pass_time(TURN_SLOT_LIFETIME).await;
    assert!(two.take(&user("ada"), holder(2), 1).await);
}

pub async fn a_place_that_is_renewed_is_kept(fixture: &dyn SharedFixture) {
    let (one, two) = hosts(fixture).await;
    assert!(one.take(&user("ada"), holder(1), 1).await);
    assert!(one.take(&user("bob"), holder(2), 1).await);
    for _ in 0..3 {
        fixture.pass_time(TURN_SLOT_LIFETIME * 2 / 3).await;
        one.renew(&[(user("ada"), holder(1)), (user("bob"), holder(2))]).await;
    }
    assert!(!two.take(&user("ada"), holder(3), 1).await);
    assert!(!two.take(&user("bob"), holder(3), 1).await);
}

pub async fn a_late_renewal_takes_no_place_that_was_given_back(fixture: &dyn SharedFixture) {
    let (one, two) = hosts(fixture).await;
    assert!(one.take(&user("ada"), holder(1), 1).await);
    one.release(&user("ada"), holder(1)).await;
    one.renew(&[(user("ada"), holder(1))]).await;
    assert!(two.take(&user("ada"), holder(2), 1).await);
}

pub async fn a_crowd_on_several_hosts_gets_no_more_places_than_the_limit(fixture: &dyn SharedFixture) {
    let mut crowd = Vec::new();
    for number in 0..90 {
        let slots = fixture.host(host_id(1 + number % 3)).await.slots;
        crowd.push(tokio::spawn(async move { slots.take(&user("ada"), holder(number), 7).await }));
    }
    let mut taken = 0;
    for one in crowd {
        taken += u32::from(one.await.unwrap());
    }
    assert_eq!(taken, 7);
}
