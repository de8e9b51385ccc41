//! Nothing that was known before an invalidation is stored after it, and nothing that was voided is read.

use std::time::Duration;

use super::{Acquired, Claim, Fleet, News, Record, TICKS, Tier, key, record, tags};

pub(super) async fn no_value_is_filled_after_its_key_was_voided<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    for how in ["invalidate", "put", "expire", "force", "clear"] {
        for old in [false, true] {
            fleet.one.invalidate(&key).await;
            let seen = if old { Some(fleet.one.put(&key, record("old")).await) } else { None };
            let lease = fleet.one.lease(&key, Claim { seen, ..Claim::default() }).await;
            match how {
                "invalidate" => fleet.two.invalidate(&key).await,
                "put" => {
                    fleet.two.put(&key, record("put")).await;
                }
                "expire" => fleet.two.expire(&key).await,
                "clear" => fleet.two.clear().await,
                _ => {
                    fleet.two.lease(&key, Claim { force: true, ..Claim::default() }).await;
                }
            }
            let fill = fleet.one.fill(&key, &lease, record("late")).await;
            assert_eq!(fill, None, "{how} ends the lease, and what it would have filled (old value: {old})");
            let there = fleet.two.payload(&key).await;
            let expected = match how {
                "put" => Some(&b"put"[..]),
                "force" if old => Some(&b"old"[..]),
                _ => None,
            };
            assert_eq!(there.as_deref(), expected, "after {how} (old value: {old})");
        }
    }
}

pub(super) async fn no_value_is_filled_after_its_tag_was_voided<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    let claim = |names: &[&str]| Claim { tags: tags(names), ..Claim::default() };
    let record = |names: &[&str]| Record { tags: tags(names), ..record("value") };
    for names in [&["t"][..], &["t", "u"], &["u", "t"]] {
        let lease = fleet.one.lease(&key, claim(names)).await;
        fleet.two.invalidate_tag("t").await;
        assert_eq!(fleet.one.fill(&key, &lease, record(names)).await, None, "a tag of {names:?} was voided");
        assert_eq!(fleet.two.read(&key).await, None, "a tag of {names:?} was voided");
        // It is refused, and the lease is over: nobody waits for nothing.
        let lease = fleet.two.lease(&key, claim(names)).await;
        assert!(fleet.two.fill(&key, &lease, record(names)).await.is_some(), "it was voided before the claim");
        fleet.one.invalidate(&key).await;
    }
    // A tag that only the run has found out about.
    let lease = fleet.one.lease(&key, claim(&["u"])).await;
    fleet.two.invalidate_tag("t").await;
    assert_eq!(fleet.one.fill(&key, &lease, record(&["u", "t"])).await, None, "it was voided since the claim");
    // Tags of others are nobody's business.
    let lease = fleet.one.lease(&key, claim(&["t"])).await;
    fleet.two.invalidate_tag("tt").await;
    fleet.two.invalidate_tag("").await;
    assert!(fleet.one.fill(&key, &lease, record(&["t"])).await.is_some(), "another tag was voided");
    fleet.one.invalidate(&key).await;
    let lease = fleet.one.lease(&key, claim(&["u"])).await;
    assert!(fleet.one.fill(&key, &lease, record(&["u", "t"])).await.is_some(), "none was voided since the claim");
}

pub(super) async fn a_void_tag_takes_its_values_with_it<T: Tier>(fleet: Fleet<T>) {
    let (a, b, c) = (key("a"), key("b"), key("c"));
    let tagged = |names: &[&str]| Record { tags: tags(names), ..record("value") };
    fleet.one.put(&a, tagged(&["t"])).await;
    let lease = fleet.one.lease(&b, Claim { tags: tags(&["u"]), ..Claim::default() }).await;
    assert!(fleet.one.fill(&b, &lease, tagged(&["u", "t"])).await.is_some());
    fleet.one.put(&c, tagged(&["u"])).await;
    fleet.two.invalidate_tag("t").await;
    assert_eq!((fleet.one.read(&a).await, fleet.one.read(&b).await), (None, None), "they bear the tag");
    assert!(fleet.one.read(&c).await.is_some(), "it does not bear the tag");
    fleet.two.lease(&a, Claim::default()).await;
    fleet.one.put(&a, tagged(&["t"])).await;
    assert!(fleet.two.read(&a).await.is_some(), "the tag was voided before the value was put");
}

pub(super) async fn an_invalidated_key_is_gone<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    fleet.one.invalidate(&key).await;
    fleet.one.put(&key, Record { stale: Duration::from_mins(1), ..record("value") }).await;
    fleet.two.invalidate(&key).await;
    assert_eq!((fleet.one.read(&key).await, fleet.two.read(&key).await), (None, None));
    fleet.one.lease(&key, Claim::default()).await;
    fleet.two.invalidate(&key).await;
    fleet.two.lease(&key, Claim::default()).await;
}

pub(super) async fn an_expired_value_stays_for_its_stale_window<T: Tier>(fleet: Fleet<T>) {
    let key = key("a");
    fleet.one.expire(&key).await;
    assert_eq!(fleet.one.read(&key).await, None, "there was nothing to expire");
    let (fresh, stale) = (Duration::from_mins(9), Duration::from_mins(1));
    let fill = fleet.one.put(&key, Record { fresh, stale, ..record("value") }).await;
    for _ in 0..2 {
        fleet.two.expire(&key).await;
        let Some(kept) = fleet.one.read(&key).await else { panic!("it may be served stale") };
        assert!(kept.left <= stale + TICKS && kept.left > stale / 2, "{:?} are left of {stale:?}", kept.left);
        assert_eq!((kept.fill, kept.record.stale), (fill, stale));
    }
    let acquired = fleet.two.acquire(&key, Claim::default()).await;
    assert!(matches!(acquired, Acquired::Value(_)), "fresh or not, it is a value: {acquired:?}");
    fleet.two.lease(&key, Claim { seen: Some(fill), ..Claim::default() }).await;
    fleet.one.put(&key, record("value")).await;
    fleet.two.expire(&key).await;
    assert_eq!(fleet.one.read(&key).await, None, "it is never served stale");
}

pub(super) async fn a_clear_takes_everything<T: Tier>(fleet: Fleet<T>) {
    let (a, b, c) = (key("a"), key("b"), super::TierKey { cache: "other".into(), ..key("a") });
    fleet.one.put(&a, record("value")).await;
    fleet.one.put(&c, Record { tags: tags(&["t"]), ..record("value") }).await;
    let lease = fleet.one.lease(&b, Claim { tags: tags(&["t"]), ..Claim::default() }).await;
    fleet.two.clear().await;
    assert_eq!((fleet.one.read(&a).await, fleet.two.read(&c).await), (None, None));
    let late = Record { tags: tags(&["t"]), ..record("late") };
    assert_eq!(fleet.one.fill(&b, &lease, late).await, None, "it was under way");
    for key in [&a, &b, &c] {
        let lease = fleet.two.lease(key, Claim::default()).await;
        assert!(fleet.two.fill(key, &lease, record("new")).await.is_some(), "the tier can be used again");
        assert!(fleet.one.read(key).await.is_some());
    }
    fleet.one.hears(&News::Cleared).await;
}
