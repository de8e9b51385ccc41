//! What a linter says of the user's code, and nothing of ours.
#![deny(unused)]

use stampede::coalesce;

use super::run;

/// Names an argument in the key only.
#[coalesce(ttl = "5s", key = "tenant, id")]
pub async fn only_in_key(tenant: u8, id: u8) -> u8 {
    id
}

/// Names one in the TTL only.
#[coalesce(ttl = ttl, key = "id")]
pub async fn only_in_ttl(ttl: std::time::Duration, id: u8) -> u8 {
    id
}

/// Expects what comes to pass, and what comes to pass in the body.
#[expect(clippy::cast_possible_truncation, reason = "shown here")]
#[coalesce(ttl = "5s")]
pub async fn expecting(id: u64) -> u8 {
    id as u8
}

/// Takes much.
#[expect(clippy::too_many_arguments, clippy::many_single_char_names, reason = "shown here")]
#[coalesce(ttl = "5s", key = "a")]
pub async fn taking(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> u8 {
    a + b + c + d + e + f + g + h
}

/// Has items, and attributes within.
#[coalesce(ttl = "5s", key = "tenant, id")]
pub async fn with_items(tenant: u8, id: u8) -> u8 {
    #![allow(clippy::let_and_return)]
    const ONE: u8 = 1;
    let sum = id + ONE;
    sum
}

/// One expression.
struct One;

impl One {
    #[coalesce(ttl = "5s", key = "a", entry = false)]
    async fn one((a, _b): (u8, u8)) -> std::sync::Arc<dyn std::fmt::Debug + Send + Sync> {
        std::sync::Arc::new(Self::plus(a))
    }

    const fn plus(a: u8) -> u8 {
        a + 1
    }
}

macro_rules! with_body {
    ($name:ident($argument:ident: $type:ty) $body:block) => {
        /// Written by a macro.
        #[coalesce(ttl = "5s")]
        pub async fn $name($argument: $type) -> usize $body
    };
}

with_body!(of_str(text: &str) { text.len() });

#[test]
fn they_run() {
    run(async {
        assert_eq!((with_items(1, 2).await, of_str("a").await), (3, 1));
        assert_eq!(format!("{:?}", One::one((1, 2)).await), "2");
        assert_eq!(only_in_key(1, 2).await, 2);
        assert_eq!(only_in_ttl(std::time::Duration::from_secs(1), 2).await, 2);
        assert_eq!(expecting(1).await, 1);
        assert_eq!(taking(1, 1, 1, 1, 1, 1, 1, 1).await, 8);
    });
}
