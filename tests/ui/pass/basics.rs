//! Functions of many shapes compile without a warning under strict lints.
#![deny(unsafe_code)]
#![allow(clippy::disallowed_types, reason = "what is generated names the real one")]

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use stampede::coalesce;

use crate::stores::Store;

/// s
#[derive(Clone)]
pub struct S {
    /** id */
    pub id: u32,
}
impl S {
    /// a
    #[coalesce(ttl = "5s")]
    pub async fn assoc(id: u32) -> u32 {
        id
    }
    /// a
    #[coalesce(ttl = "5s")]
    pub async fn assoc_self(id: u32) -> Self {
        Self { id }
    }
    /// a
    #[coalesce(ttl = "5s", key = "self.id")]
    pub async fn arc(self: Arc<Self>) -> u32 {
        self.id
    }
    /// a
    #[coalesce(ttl = "5s", key = "self.id")]
    pub async fn arc_ref(self: &Arc<Self>) -> u32 {
        self.id
    }
    /// a
    #[coalesce(ttl = "5s", key = "self.id")]
    pub async fn by_value(self) -> u32 {
        self.id
    }
    /// a
    #[coalesce(ttl = "5s", key = "self.id")]
    pub async fn fmt(&self, id: u32) -> String {
        format!("{id} {}", self.id)
    }
}
/// a
#[coalesce(ttl = "5s")]
pub async fn generic<T>(t: T) -> String
where
    T: Serialize + Clone + Send + Sync + 'static + std::fmt::Debug,
{
    format!("{t:?}")
}
/// a
#[coalesce(ttl = "5s")]
pub async fn konst<const N: usize>(t: u8) -> usize {
    N + usize::from(t)
}
/// a
#[coalesce(ttl = "5s")]
pub async fn imp(t: impl Serialize + Clone + Send + Sync + 'static) -> usize {
    drop(t);
    1
}
/// a
#[coalesce(ttl = "5s")]
pub async fn lifetimes<'a>(t: &'a str, u: &'a u8) -> usize {
    t.len() + usize::from(*u)
}
/// a
#[coalesce(ttl = "5s")]
pub async fn patterns((a, b): (u32, u32), mut x: u32, _: u8) -> u32 {
    x += a;
    x + b
}
/// a
#[coalesce(ttl = "5s")]
pub async fn cow(t: Cow<'_, str>, o: Option<&u8>, p: &Path) -> usize {
    t.len() + usize::from(o.is_some()) + usize::from(p.is_absolute())
}
/// a
#[coalesce(ttl = "5s", inline)]
pub async fn strs(t: &[&str]) -> usize {
    t.len()
}
/// a
#[coalesce(ttl = "5s", key = "id")]
pub async fn only_key(id: u32) -> usize {
    1
}
/// a
#[allow(clippy::too_many_arguments)]
#[coalesce(ttl = "5s")]
pub async fn names(key: u8, store: u8, result: u8, value: u8, entry: u8, __x: u8, r#type: u8, options: u8) -> u8 {
    key + store + result + value + entry + __x + r#type + options
}
/// a
#[must_use]
#[deprecated]
#[coalesce(ttl = "5s")]
pub async fn dep(key: u8) -> u8 {
    key
}
/// a
#[allow(clippy::many_single_char_names, clippy::too_many_arguments)]
#[coalesce(ttl = "5s")]
pub async fn many(
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    e: u8,
    f: u8,
    g: u8,
    h: u8,
    i: u8,
    j: u8,
    k: u8,
    l: u8,
    m: u8,
    n: u8,
    o: u8,
    p: u8,
    q: u8,
    r: u8,
) -> u8 {
    a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p + q + r
}
/// a
#[coalesce(ttl = "5s", key = "id")]
pub async fn imp2(db: impl Clone + Send + Sync + 'static, id: u8) -> u8 {
    drop(db);
    id
}
/// a
#[coalesce(ttl = ttl, key = "id", store = store)]
pub async fn configured(ttl: std::time::Duration, store: Store, id: u8) -> u8 {
    id
}
/// a
#[coalesce(ttl = "5s", key = "format!(\"{a}:{b}\")")]
pub async fn fmtkey(a: u8, b: u8, c: u8) -> u8 {
    a + b + c
}
/// a
#[coalesce(ttl = "5s", key = "city.trim().to_lowercase(), days.unwrap_or(3)")]
pub async fn temps(city: String, days: Option<u8>) -> usize {
    city.len() + usize::from(days.is_some())
}

#[tokio::test]
async fn they_run() {
    Store::default()
        .scope(async {
            assert_eq!(konst::<3>(1).await, 4);
            assert_eq!(konst::<4>(1).await, 5);
            assert_eq!(patterns((1, 2), 3, 4).await, 6);
            assert_eq!(cow("abc".into(), Some(&1), Path::new("/")).await, 5);
            assert_eq!(strs(&["a", "b"]).await, 2);
            assert_eq!(names(1, 2, 3, 4, 5, 6, 7, 8).await, 36);
            assert_eq!(generic(vec![1]).await, "[1]");
            assert_eq!(imp2(0_u8, 7).await, 7);
            let store = Store::default();
            assert_eq!(configured(std::time::Duration::from_secs(1), store.clone(), 7).await, 7);
            assert_eq!(store.stats().entries, 1);
            assert_eq!(temps(" Rome ".into(), None).await, temps("rome".into(), Some(3)).await);
            let s = Arc::new(S { id: 9 });
            assert_eq!((Arc::clone(&s).arc().await, s.arc_ref().await, s.as_ref().clone().by_value().await), (9, 9, 9));
            assert_eq!((S::assoc(1).await, S::assoc_self(2).await.id), (1, 2));
            assert_eq!(s.fmt(1).await, "1 9");
            assert_eq!((imp("a").await, lifetimes("a", &1).await, only_key(1).await), (1, 2, 1));
            #[allow(deprecated)]
            let deprecated = dep(1).await;
            assert_eq!(deprecated, 1);
            assert_eq!(many(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1).await, 18);
            assert_eq!(fmtkey(1, 2, 3).await, 6);
        })
        .await;
}
