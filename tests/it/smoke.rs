use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use stampede::{NoCache, Store, coalesce};

#[derive(Clone)]
struct Db;

static RUNS: AtomicU32 = AtomicU32::new(0);

#[coalesce(ttl = "5s", key = "id")]
async fn load_user(db: &Db, id: u64) -> Result<String, String> {
    let _ = db;
    RUNS.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(10)).await;
    Ok(format!("user {id}"))
}

#[coalesce(ttl = "1m", stale_while_revalidate = "5m", cache_if = |v| v.is_some(), weight = |_| 3)]
async fn names(tags: &[String], prefix: &str, limit: Option<&str>, n: u64) -> Option<Vec<String>> {
    if n == 7 {
        return NoCache(vec![]).into();
    }
    Some(tags.iter().filter(|t| t.starts_with(prefix)).chain(limit.map(str::to_owned).as_ref()).cloned().collect())
}

#[coalesce(ttl = "5s")]
async fn fib(n: u64) -> u64 {
    if n < 2 { n } else { fib(n - 1).await + fib(n - 2).await }
}

#[coalesce(ttl = "5s")]
async fn is_even(n: u64) -> bool {
    n == 0 || is_odd(n - 1).await
}

#[coalesce(ttl = "5s")]
async fn is_odd(n: u64) -> bool {
    n != 0 && is_even(n - 1).await
}

#[derive(Clone)]
struct Service {
    store: Store,
    tenant: u32,
}

impl Service {
    #[coalesce(ttl = "5s", key = "self.tenant, id")]
    async fn get(&self, id: u64) -> anyhow::Result<u64> {
        if id == 0 {
            return Err(NoCache(5u64).into());
        }
        anyhow::ensure!(id != 1, "one");
        Ok(id + u64::from(self.tenant))
    }

    #[coalesce(ttl = "5s", store = self.store)]
    pub async fn by_store(&self, id: u64) -> Result<std::sync::Arc<u64>, Box<dyn std::error::Error + Send + Sync>> {
        Ok((id + 1).into())
    }

    #[coalesce(ttl = "5s", skip(self), inline)]
    pub async fn inline(&self, id: u64) -> u64 {
        id
    }
}

#[tokio::test]
async fn smoke() {
    let store = Store::default();
    store
        .scope(async {
            let (a, b) = tokio::join!(load_user(&Db, 7), load_user(&Db, 7));
            assert_eq!(a, b);
            assert_eq!(RUNS.load(Ordering::SeqCst), 1);
            load_user_entry(7).put("x".into()).await;
            assert_eq!(load_user(&Db, 7).await, Ok("x".into()));
            assert_eq!(load_user_entry(7).get().await.as_deref(), Some("x"));
            load_user_entry(7).invalidate().await;
            assert_eq!(load_user_entry(7).get().await, None);
            assert_eq!(fib(20).await, 6765);
            assert!(is_even(100).await);
            let service = Service { store: Store::default(), tenant: 3 };
            assert_eq!(service.get(4).await.unwrap(), 7);
            assert_eq!(service.get(0).await.unwrap(), 5);
            assert_eq!(service.get(1).await.unwrap_err().to_string(), "one");
            assert_eq!(*service.by_store(1).await.unwrap(), 2);
            assert_eq!(service.inline(1).await, 1);
            assert_eq!(names(&["ab".into()], "a", None, 1).await.unwrap().len(), 1);
            assert_eq!(names_entry(&["ab".into()], "a", None, 1).get().await, Some(Some(vec!["ab".to_owned()])));
        })
        .await;
    let stats = store.stats();
    println!("{stats:?} {}", stats.runs_saved());
    assert_eq!(stats.in_flight, 0);
    assert_eq!(stats.waiting, 0);
}

#[tokio::test]
#[should_panic(expected = "a run waits for itself")]
async fn cycle() {
    #[coalesce(ttl = "5s")]
    async fn a(n: u32) -> u32 {
        b(n).await
    }
    #[coalesce(ttl = "5s")]
    async fn b(n: u32) -> u32 {
        a(n).await
    }
    a(1).await;
}

#[test]
fn futures_are_small_and_send() {
    fn assert_send<T: Send>(future: T) -> T {
        future
    }
    let call = assert_send(load_user(&Db, 7));
    println!("load_user: {} bytes", size_of_val(&call));
    let tags = [String::new()];
    println!("names: {} bytes", size_of_val(&assert_send(names(&tags, "a", None, 1))));
}
