//! Arguments that are patterns, and keys that name their parts.

use serde::Serialize;
use stampede::coalesce;

use super::run;

/// Two numbers.
#[derive(Clone, Serialize)]
pub struct Point {
    x: u32,
    y: u32,
}

/// A number with a type.
#[derive(Clone, Serialize)]
pub struct Id(u64);

/// All kinds; the whole of each is in the key.
#[coalesce(ttl = "5s")]
pub async fn whole(
    (a, b): (u32, u32),
    Point { x, y: _ }: Point,
    mut c: u32,
    _: u8,
    Id(id): Id,
    [d, ..]: [u32; 3],
) -> u64 {
    c += a + b + x + d;
    u64::from(c) + id
}

/// Parts of them are.
#[coalesce(ttl = "5s", key = "a + 1, x, id, format!(\"{d}\")")]
pub async fn parts((a, _b): (u32, u32), Point { x, y: _y }: Point, Id(mut id): Id, [d, _]: &[u32; 2]) -> u64 {
    id += 1;
    id
}

struct Space(u8);

impl Space {
    /// In a method, where `self` is a part.
    #[coalesce(ttl = std::time::Duration::from_secs(wait.into()), key = "self.0, a")]
    async fn method(&self, (a, wait): (u32, u8)) -> u32 {
        a + u32::from(self.0)
    }
}

impl Clone for Space {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

#[test]
fn they_are_taken_apart() {
    run(async {
        let point = Point { x: 3, y: 4 };
        assert_eq!(whole((1, 2), point.clone(), 5, 6, Id(7), [8, 9, 10]).await, 26);
        assert_eq!(parts((1, 2), point.clone(), Id(7), &[8, 9]).await, 8);
        assert_eq!(parts_entry((1, 99), Point { x: 3, y: point.y + 1 }, Id(7), &[8, 99]).get().await, Some(8));
        assert_eq!(Space(1).method((2, 3)).await, 3);
        assert_eq!(Space(1).method_entry((2, 0)).get().await, Some(3));
    });
}
