//! Methods of traits: native, and as `async_trait` rewrites them.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use serde::Serialize;
use stampede::coalesce;

use super::run;

/// Users, by a native trait.
pub trait Users {
    /// One user.
    fn user(&self, id: u64) -> impl Future<Output = Result<String, String>> + Send;

    /// How many.
    async fn count(&self) -> u32;

    /// Without a receiver.
    async fn zero(id: u8) -> Self;

    /// Says what it is.
    async fn say_so(&self) -> String;
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Which.
    pub number: u32,
    runs: Arc<AtomicU32>,
}

impl Users for Table {
    #[coalesce(ttl = "5s", key = "self.number, id", entry = false)]
    async fn user(&self, id: u64) -> Result<String, String> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let parsed: u64 = format!("{id}").parse().map_err(|error| format!("{error}"))?;
        if parsed == 0 {
            return Err("nobody".into());
        }
        let this = self;
        let number = [1_u32, 0].iter().map(|one| one * self.number).sum::<u32>();
        Ok(format!("{parsed} of {number} {self:?} {{self}} {}", this.number))
    }

    #[coalesce(ttl = "5s", key = "self.number", entry = false)]
    async fn count(&self) -> u32 {
        struct Plus(u32);

        impl Plus {
            const fn one(&self) -> u32 {
                self.0 + 1
            }
        }

        assert_eq!(Plus(self.number).one(), self.number + 1, "{self:?}");
        Plus(self.number).one()
    }

    #[coalesce(ttl = "5s", key = "self.number", entry = false)]
    async fn say_so(&self) -> String {
        macro_rules! number_of {
            ($self:ident) => {
                $self.number
            };
        }
        let strings = ["{self}", concat!("{self}", "x"), stringify!(self.id)];
        assert!(matches!("{self}", "{self}"), "{self:?}");
        format!("{strings:?} {{self}} {}", number_of!(self))
    }

    #[coalesce(ttl = "5s", entry = false)]
    async fn zero(id: u8) -> Self {
        Self { number: id.into(), runs: Arc::default() }
    }
}

#[test]
fn native_traits_work() {
    run(async {
        let table = Table { number: 3, ..Table::default() };
        let (one, two) = tokio::join!(Users::user(&table, 7), Users::user(&table, 7));
        assert_eq!(one, two);
        let said = one.expect("a user");
        assert!(said.starts_with("7 of 3 Table { number: 3, "), "{said}");
        assert!(said.ends_with(" {self} 3"), "{said}");
        assert_eq!(table.runs.load(Ordering::Relaxed), 1);
        assert_eq!(Users::user(&table, 0).await, Err("nobody".into()));
        assert_eq!(table.count().await, 4);
        assert_eq!(Table::zero(2).await.number, 2);
        assert_eq!(table.say_so().await, r#"["{self}", "{self}x", "self.id"] {self} 3"#);
    });
}

/// A trait whose default body is coalesced, for each type apart.
pub trait Named: Clone + Send + Sync + 'static {
    /// What it is called.
    const NAME: &'static str;

    /// Its name, and more.
    #[allow(async_fn_in_trait, reason = "shown here")]
    #[coalesce(ttl = "5s", key = "id", skip(self), entry = false)]
    async fn name(&self, id: u8) -> String {
        format!("{} {id}", Self::NAME)
    }
}

impl Named for Table {
    const NAME: &'static str = "table";
}

impl Named for u8 {
    const NAME: &'static str = "u8";
}

#[test]
fn default_bodies_are_each_types_own() {
    run(async {
        assert_eq!(Table::default().name(1).await, "table 1");
        assert_eq!(0_u8.name(1).await, "u8 1");
    });
}

/// Users, by `async_trait`.
#[async_trait]
pub trait Boxed: Send + Sync {
    /// One user.
    async fn user(&self, id: u64, name: &str) -> Result<String, String>;

    /// With a pattern, and a generic argument.
    async fn pair<T: Serialize + Clone + Debug + Send + Sync + 'static>(&self, pair: (u8, u8), rest: T) -> String;

    /// By value.
    async fn consume(self: Arc<Self>, mut times: u8) -> u32;

    /// Takes its arguments apart itself.
    async fn list(&self, page: u32, size: Option<(u32, u32)>) -> String;

    /// Says what it is.
    async fn say(&self) -> String;

    /// Without an answer.
    async fn touch(&self);

    /// With a body.
    #[coalesce(ttl = "5s", key = "id", skip(self))]
    async fn provided(&self, id: u8) -> u8
    where
        Self: Clone + 'static,
    {
        id + 1
    }
}

#[async_trait]
impl Boxed for Table {
    #[coalesce(ttl = "5s", key = "self.number, id, name")]
    async fn user(&self, id: u64, name: &str) -> Result<String, String> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        if id == 0 {
            Err("nobody")?;
        }
        tokio::task::yield_now().await;
        Ok(format!("{id} {name} {}", self.number))
    }

    #[coalesce(ttl = "5s", key = "self.number, a + b, rest")]
    async fn pair<T: Serialize + Clone + Debug + Send + Sync + 'static>(&self, (a, b): (u8, u8), rest: T) -> String {
        format!("{a} {b} {rest:?} {self:?}")
    }

    #[coalesce(ttl = "5s", key = "self.number, times", entry = false)]
    async fn consume(self: Arc<Self>, mut times: u8) -> u32 {
        times += 1;
        self.number * u32::from(times)
    }

    #[coalesce(ttl = "5s", skip(self))]
    async fn list(&self, page: u32, size: Option<(u32, u32)>) -> String {
        let first = page;
        let Some(size) = size else { return "none".into() };
        let (page, _) = size;
        format!("{first} {page}")
    }

    #[coalesce(ttl = "5s", key = "self.number")]
    async fn say(&self) -> String {
        let strings = ["{self}", concat!("{self}", "x"), stringify!(self.id)];
        assert!(matches!("{self}", "{self}"), "{self:?}");
        format!("{strings:?} {{self}} {}", self.number)
    }

    #[coalesce(ttl = "5s", key = "self.number", inline)]
    async fn touch(&self) {
        self.runs.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn async_trait_works() {
    run(async {
        let table = Table { number: 3, ..Table::default() };
        let boxed: &dyn Fn() -> Table = &|| table.clone();
        let (one, two) = tokio::join!(Boxed::user(&table, 7, "x"), Boxed::user(&table, 7, "x"));
        assert_eq!((one, two), (Ok("7 x 3".into()), Ok("7 x 3".into())));
        assert_eq!(table.runs.load(Ordering::Relaxed), 1);
        assert_eq!(Boxed::user(&table, 0, "x").await, Err("nobody".into()));
        assert!(table.pair((1, 2), 'c').await.starts_with("1 2 'c' Table"));
        assert!(table.pair((2, 1), 'c').await.starts_with("1 2 'c' Table"), "the sum is the key");
        assert_eq!(table.list(1, Some((9, 9))).await, "1 9");
        assert_eq!(table.list(2, Some((9, 9))).await, "2 9");
        assert_eq!(table.list(2, None).await, "none");
        assert_eq!(table.say().await, r#"["{self}", "{self}x", "__self.id"] {self} 3"#, "`async_trait` names it so");
        assert_eq!(Arc::new(boxed()).consume(1).await, 6);
        table.touch().await;
        table.touch().await;
        assert_eq!(table.runs.load(Ordering::Relaxed), 3);
        assert_eq!(table.provided(1).await, 2);
    });
}
