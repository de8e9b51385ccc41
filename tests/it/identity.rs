//! Identities: the same key in two functions, or in two instantiations of one, is two keys.

use serde::Serialize;
use stampede::coalesce;

use crate::stores::Store;
use crate::tools::Origin;

#[coalesce(ttl = "1m", skip(origin))]
async fn first(origin: &Origin, id: u64) -> u64 {
    let _ = id;
    origin.read().await
}

#[coalesce(ttl = "1m", skip(origin))]
async fn second(origin: &Origin, id: u64) -> u64 {
    let _ = id;
    origin.read().await
}

#[coalesce(ttl = "1m", skip(origin))]
#[allow(clippy::extra_unused_type_parameters, reason = "it tells functions apart")]
async fn of_type<T: 'static>(origin: &Origin) -> u64 {
    origin.read().await
}

#[coalesce(ttl = "1m", skip(origin))]
async fn of_const<const N: usize>(origin: &Origin) -> u64 {
    origin.read().await
}

#[coalesce(ttl = "1m", skip(origin))]
#[allow(clippy::extra_unused_type_parameters, reason = "it tells functions apart")]
async fn of_both<T: 'static, const A: u8, const B: u8>(origin: &Origin) -> u64 {
    origin.read().await
}

#[coalesce(ttl = "1m", skip(origin))]
async fn of_argument(origin: &Origin, id: impl Serialize + Clone + Send + 'static) -> u64 {
    drop(id);
    origin.read().await
}

#[coalesce(ttl = "1m", skip(origin), name = "one name")]
async fn named(origin: &Origin) -> u64 {
    origin.read().await
}

#[coalesce(ttl = "1m", skip(origin), name = "one name")]
async fn named_too(origin: &Origin) -> u64 {
    origin.read().await
}

struct Str;

#[derive(Clone)]
struct Left;
#[derive(Clone)]
struct Right;

impl Left {
    #[coalesce(ttl = "1m", skip(self, origin))]
    async fn get(&self, origin: &Origin) -> u64 {
        origin.read().await
    }
}

impl Right {
    #[coalesce(ttl = "1m", skip(self, origin))]
    async fn get(&self, origin: &Origin) -> u64 {
        origin.read().await
    }
}

#[derive(Clone, Default)]
struct G<T>(T);

impl<T: Clone + Send + Sync + 'static> G<T> {
    #[coalesce(ttl = "1m", skip(self, origin))]
    async fn get(&self, origin: &Origin) -> u64 {
        origin.read().await
    }
}

/// Two functions that stand at one place of the source.
macro_rules! constructors {
    ($($type:ident),*) => {$(
        impl $type {
            #[coalesce(ttl = "1m", skip(origin))]
            async fn load(origin: &Origin) -> u64 {
                origin.read().await
            }
        }
    )*};
}

constructors!(Left, Right);

#[tokio::test]
async fn each_function_and_each_instantiation_has_keys_of_its_own() {
    let store = Store::default();
    let run = async {
        let o = &Origin::open();
        // Twice: the second time, each finds what is its own.
        for _ in 0..2 {
            let got = [
                first(o, 1).await,
                second(o, 1).await,
                of_type::<u8>(o).await,
                of_type::<bool>(o).await,
                of_type::<Str>(o).await,
                of_const::<3>(o).await,
                of_const::<4>(o).await,
                of_both::<u8, 1, 2>(o).await,
                of_both::<u8, 2, 1>(o).await,
                of_both::<i8, 1, 2>(o).await,
                of_argument(o, 1_u8).await,
                of_argument(o, 1_u64).await,
                named(o).await,
                named_too(o).await,
                Left.get(o).await,
                Right.get(o).await,
                G(0_u8).get(o).await,
                G(true).get(o).await,
            ];
            assert_eq!(got.to_vec(), (1..=18).collect::<Vec<u64>>());
        }
    };
    store.scope(run).await;
}

#[tokio::test]
async fn functions_that_a_macro_wrote_have_keys_of_their_own() {
    let run = async {
        let origin = Origin::open();
        assert_eq!((Left::load(&origin).await, Right::load(&origin).await), (1, 2));
    };
    Store::default().scope(run).await;
}

/// Bears the name of a constant below.
#[expect(dead_code, reason = "its name is all there is to it")]
struct N;

#[coalesce(ttl = "1m", skip(origin))]
async fn of_a_constant_named_as_a_type<const N: usize>(origin: &Origin) -> (usize, u64) {
    (N, origin.read().await)
}

#[tokio::test]
async fn a_constant_may_have_the_name_of_a_type() {
    let run = async {
        let origin = Origin::open();
        for _ in 0..2 {
            assert_eq!(of_a_constant_named_as_a_type::<3>(&origin).await, (3, 1));
            assert_eq!(of_a_constant_named_as_a_type::<4>(&origin).await, (4, 2));
        }
    };
    Store::default().scope(run).await;
}
