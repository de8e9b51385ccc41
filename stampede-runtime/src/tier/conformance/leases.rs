//! One lease per key, and what becomes of it.

use std::time::Duration;

use tokio::time::sleep;

use super::{Acquired, Claim, Fleet, Tier, all, is_busy, key, record};

pub(super) async fn a_key_has_one_lease<T: Tier>(fleet: Fleet<T>) {
    let (a, b) = (key("a"), key("b"));
    let lease = fleet.one.lease(&a, Claim::default()).await;
    for process in [&fleet.one, &fleet.two] {
        match process.acquire(&a, Claim::default()).await {
            Acquired::Busy(left) => assert!(!left.is_zero() && left <= fleet.lease, "busy for {left:?}"),
            other => panic!("somebody has the lease, and there is another: {other:?}"),
        }
    }
    let other = fleet.two.lease(&b, Claim::default()).await;
    assert_ne!(lease.token, other.token, "two leases can be told apart");
}

pub(super) async fn many_claims_at_once_get_one_lease<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    let trips = (0..100).map(|i| if i % 2 == 0 { &fleet.one } else { &fleet.two });
    let trips = trips.map(|process| process.tier.acquire(&key, Claim::default())).collect();
    let acquired = all(trips).await;
    let leased = acquired.iter().filter(|acquired| matches!(acquired, Ok(Acquired::Leased(_)))).count();
    let busy = acquired.iter().filter(|acquired| acquired.as_ref().is_ok_and(is_busy)).count();
    assert_eq!((leased, busy), (1, 99), "of 100 claims at once, one gets the lease");
}

pub(super) async fn a_lease_ends_with_its_time<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    let late = fleet.one.lease(&key, Claim::default()).await;
    sleep(fleet.lease * 3 / 2).await;
    let lease = fleet.two.lease(&key, Claim::default()).await;
    assert_ne!(late.token, lease.token, "each claim that succeeds has a lease of its own");
    fleet.one.release(&key, &late, Duration::ZERO).await;
    fleet.one.release(&key, &late, fleet.lease).await;
    assert_eq!(fleet.one.fill(&key, &late, record("late")).await, None, "a lease that is no more fills nothing");
    assert!(is_busy(&fleet.one.acquire(&key, Claim::default()).await), "a lease that is no more ends no other");
    assert!(fleet.two.fill(&key, &lease, record("value")).await.is_some(), "a lease that stands fills");
    assert_eq!(fleet.one.payload(&key).await.as_deref(), Some(&b"value"[..]));
}

pub(super) async fn a_lease_is_renewed_but_not_revived<T: Tier>(fleet: Fleet<T>) {
    let keys = [key("a"), key("b"), key("c")];
    let mut leases = Vec::new();
    for key in &keys {
        leases.push((key.clone(), fleet.one.lease(key, Claim::default()).await));
    }
    fleet.two.invalidate(&keys[1]).await;
    fleet.two.lease(&keys[2], Claim { force: true, ..Claim::default() }).await;
    fleet.one.renew(&[]).await;
    sleep(fleet.lease / 2).await;
    fleet.one.renew(&leases).await;
    sleep(fleet.lease * 3 / 4).await;
    assert!(is_busy(&fleet.two.acquire(&keys[0], Claim::default()).await), "a renewed lease stands");
    fleet.two.lease(&keys[1], Claim::default()).await;
    fleet.two.lease(&keys[2], Claim::default()).await;
    sleep(fleet.lease * 3 / 4).await;
    fleet.one.renew(&leases[..1]).await;
    fleet.two.lease(&keys[0], Claim::default()).await;
}

pub(super) async fn a_released_lease_is_free<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    let lease = fleet.one.lease(&key, Claim::default()).await;
    fleet.one.release(&key, &lease, Duration::ZERO).await;
    assert_eq!(fleet.one.fill(&key, &lease, record("late")).await, None, "a released lease fills nothing");
    let claim = Claim { has_old: true, ..Claim::default() };
    fleet.two.lease(&key, claim).await;
}

pub(super) async fn a_throttle_keeps_those_away_who_have_an_old_value<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    let old = || Claim { has_old: true, ..Claim::default() };
    let lease = fleet.one.lease(&key, old()).await;
    fleet.one.release(&key, &lease, fleet.lease).await;
    match fleet.two.acquire(&key, old()).await {
        Acquired::Throttled(left) => assert!(!left.is_zero() && left <= fleet.lease, "throttled for {left:?}"),
        other => panic!("a run has failed, and there is an old value: {other:?}"),
    }
    sleep(fleet.lease * 3 / 2).await;
    let lease = fleet.two.lease(&key, old()).await;
    fleet.two.release(&key, &lease, fleet.lease * 2).await;
    let lease = fleet.one.lease(&key, Claim::default()).await;
    assert!(is_busy(&fleet.two.acquire(&key, old()).await), "who has no old value is not kept away");
    fleet.one.release(&key, &lease, fleet.lease * 2).await;
    let lease = fleet.two.lease(&key, Claim { force: true, ..old() }).await;
    assert!(fleet.two.fill(&key, &lease, record("value")).await.is_some());
    let acquired = fleet.one.acquire(&key, old()).await;
    assert!(matches!(acquired, Acquired::Value(_)), "a value ends the throttle: {acquired:?}");
}

pub(super) async fn a_forced_claim_ends_the_lease_of_others<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    let force = || Claim { force: true, ..Claim::default() };
    fleet.one.put(&key, record("old")).await;
    let first = fleet.one.lease(&key, force()).await;
    let second = fleet.two.lease(&key, force()).await;
    assert_eq!(fleet.one.fill(&key, &first, record("first")).await, None, "another claim was forced meanwhile");
    assert_eq!(fleet.one.payload(&key).await.as_deref(), Some(&b"old"[..]), "a claim voids nothing");
    assert!(fleet.two.fill(&key, &second, record("second")).await.is_some(), "a forced claim gives a lease");
    assert_eq!(fleet.one.payload(&key).await.as_deref(), Some(&b"second"[..]));
}
