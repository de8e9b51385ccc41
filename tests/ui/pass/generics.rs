//! Generic functions and methods of generic types: each instantiation has values of its own.

use std::fmt::{Debug, Display};
use std::marker::PhantomData;

use serde::Serialize;
use stampede::coalesce;

use super::run;

/// All that a value needs.
pub trait All: Serialize + Clone + Debug + Send + Sync + 'static {}

impl<T: Serialize + Clone + Debug + Send + Sync + 'static> All for T {}

/// A type, a lifetime, a constant and an unnamed type.
#[coalesce(ttl = "5s", key = "t, name")]
pub async fn mixed<'a, const N: usize, T>(
    t: T,
    name: &'a str,
    more: impl Display + Clone + Send + Sync + 'static,
) -> String
where
    T: All,
    'a: 'a,
{
    format!("{t:?} {name} {N} {more}")
}

/// A type that shows in the output alone.
#[coalesce(ttl = "5s")]
pub async fn output<T: Default + Clone + Send + Sync + 'static>(id: u8) -> (u8, T) {
    (id, T::default())
}

/// A constant that is the key.
#[coalesce(ttl = "5s")]
pub async fn only<const N: u64>() -> u64 {
    N
}

/// A reference to something generic, and a slice of something unnamed.
#[coalesce(ttl = "5s")]
pub async fn unnamed(t: &(impl All + PartialEq), u: &[impl All]) -> String {
    format!("{t:?} {u:?}")
}

/// Generic in what no argument shows.
#[derive(Debug)]
pub struct Of<T>(PhantomData<fn() -> T>);

impl<T> Clone for Of<T> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<T: Default + Debug + 'static> Of<T> {
    /// The type shows in the body alone.
    #[coalesce(ttl = "5s", key = "id", skip(self))]
    pub async fn method(&self, id: u8) -> String {
        format!("{id} {:?}", T::default())
    }

    /// Without a receiver: `Self` tells that there is a type around.
    #[coalesce(ttl = "5s")]
    pub async fn function(id: u8) -> String {
        Self(PhantomData).method(id).await
    }

    /// Likewise, where only the key says it.
    #[coalesce(ttl = "5s", key = "id, size_of::<Self>()")]
    pub async fn in_the_key(id: u8) -> String {
        format!("{id} {:?}", T::default())
    }

    /// Says neither `Self` nor `T`, so all types may share it.
    #[coalesce(ttl = "5s")]
    pub async fn neither(id: u8) -> u8 {
        id
    }
}

/// A type that borrows.
#[derive(Clone)]
pub struct Borrowing<'b>(&'b str);

impl Borrowing<'_> {
    /// A method of it.
    #[coalesce(ttl = "5s", key = "self.0", inline)]
    pub async fn method(&self) -> String {
        self.0.to_owned()
    }
}

/// In a function's body.
pub async fn nested(id: u8) -> u8 {
    #[coalesce(ttl = "5s")]
    async fn inner(id: u8) -> u8 {
        async fn own(id: u8) -> u8 {
            #[coalesce(ttl = "5s")]
            async fn inner(id: u8) -> u8 {
                id + 1
            }
            inner(id).await
        }
        own(id).await + 1
    }
    let _ = inner_entry(id);
    inner(id).await
}

#[test]
fn instantiations_have_values_of_their_own() {
    run(async {
        assert_eq!(mixed::<3, _>(1_u8, "a", 'x').await, "1 a 3 x");
        assert_eq!(mixed::<4, _>(1_u8, "a", 'x').await, "1 a 4 x");
        assert_eq!(mixed::<4, _>(1_u8, "a", "y").await, "1 a 4 y", "of another type");
        assert_eq!(mixed::<4, _>(1_u8, "a", "z").await, "1 a 4 y", "of the same type, and not in the key");
        assert_eq!(output::<String>(1).await, (1, String::new()));
        assert_eq!(output::<u8>(1).await, (1, 0));
        assert_eq!((only::<1>().await, only::<2>().await), (1, 2));
        assert_eq!(unnamed(&1_u8, &["a"]).await, "1 [\"a\"]");
        assert_eq!(Of::<u8>(PhantomData).method(1).await, "1 0");
        assert_eq!(Of::<bool>(PhantomData).method(1).await, "1 false");
        assert_eq!(Of::<char>::function(1).await, "1 '\\0'");
        assert_eq!(Of::<u8>::function(1).await, "1 0");
        assert_eq!(Of::<u8>::function_entry(1).get().await.as_deref(), Some("1 0"));
        assert_eq!(Of::<u8>::in_the_key(1).await, "1 0");
        assert_eq!(Of::<bool>::in_the_key(1).await, "1 false");
        assert_eq!(Of::<u8>::neither(1).await, 1);
        assert_eq!(Of::<()>::neither_entry(1).get().await, Some(1));
        assert_eq!(Borrowing(&String::from("b")).method().await, "b");
        assert_eq!(nested(1).await, 3);
    });
}
