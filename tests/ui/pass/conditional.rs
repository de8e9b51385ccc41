//! Arguments under a condition.

use stampede::coalesce;

use super::run;

/// One that is there and one that is not.
#[coalesce(ttl = "5s")]
pub async fn either(id: u8, #[cfg(test)] there: u8, #[cfg(not(test))] gone: String, #[allow(unused)] also: u8) -> u8 {
    #[cfg(not(test))]
    drop(gone);
    id + there
}

struct Counter;

impl Counter {
    /// As a method.
    #[coalesce(ttl = "5s", key = "id", skip(self))]
    #[cfg(not(windows))]
    async fn method(#[allow(unused)] self: std::sync::Arc<Self>, id: u8, #[cfg(any(test, windows))] more: u8) -> u8 {
        id + more
    }
}

#[test]
fn they_may_come_and_go() {
    run(async {
        assert_eq!(either(1, 2, 3).await, 3);
        assert_eq!(either_entry(1, 2, 3).get().await, Some(3));
        assert_eq!(std::sync::Arc::new(Counter).method(1, 2).await, 3);
    });
}
