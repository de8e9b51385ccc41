//! Arguments of any name, also in functions that macros write.
#![allow(clippy::too_many_arguments, reason = "the more the better")]

use stampede::coalesce;

use super::run;

/// The names that generated code might have used.
#[coalesce(ttl = "5s")]
pub async fn taken(
    key: u8,
    store: u8,
    result: u8,
    value: u8,
    entry: u8,
    __x: u8,
    r#type: u8,
    options: u8,
    this: u8,
    __self: u8,
    body: u8,
    start: u8,
    target: u8,
    reply: u8,
) -> u8 {
    key + store + result + value + entry + __x + r#type + options + this + __self + body + start + target + reply
}

/// Names of its own mean what they meant.
#[coalesce(ttl = "5s", key = "r#fn, Vec::from([None::<u8>])[0].is_some() || r#fn > 1")]
pub async fn r#async(r#fn: u8) -> u8 {
    r#fn
}

/// A key that borrows from what it has made.
#[coalesce(ttl = "5s", key = "name.trim().to_lowercase().as_str(), id")]
pub async fn normalized(name: &str, id: u8) -> String {
    format!("{name} {id}")
}

macro_rules! loaders {
    ($($name:ident($id:ident: $type:ty)),*) => {
        $(
            /// Loads.
            #[coalesce(ttl = "5s", key = "id")]
            pub async fn $name(id: $type, $id: u8) -> $type {
                let _ = $id;
                id
            }
        )*
    };
}

loaders!(load_one(one: u8), load_two(two: u16));

macro_rules! keyed {
    ($name:ident, $id:ident) => {
        /// The key is a name that came from outside.
        #[coalesce(ttl = "5s", key = "id.wrapping_add(1)")]
        pub async fn $name($id: u8) -> u8 {
            $id
        }
    };
}

keyed!(by_id, id);

macro_rules! two_of_one_name {
    ($name:ident, $borrowed:ident, $id:ident) => {
        /// The key is the macro's own `id`.
        #[coalesce(ttl = "5s", key = "id")]
        pub async fn $name($id: u8, id: u8) -> (u8, u8) {
            ($id, id)
        }

        /// One of them is a reference.
        #[coalesce(ttl = "5s")]
        pub async fn $borrowed($id: &str, id: u8) -> (String, u8) {
            ($id.to_owned(), id)
        }
    };
}

two_of_one_name!(own_id, borrowed_id, id);

macro_rules! twins {
    ($($module:ident $value:literal),*) => {
        $(
            mod $module {
                /// One name, many functions.
                #[stampede::coalesce(ttl = "5s", name = "twin")]
                pub async fn twin(id: u8) -> u8 {
                    id + $value
                }
            }
        )*
    };
}

twins!(first 1, second 2);

#[test]
fn they_do_not_meet_what_is_generated() {
    run(async {
        assert_eq!(taken(1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1, 1, 1, 1).await, 42);
        assert_eq!((normalized(" A", 1).await, normalized("a ", 1).await), (" A 1".into(), " A 1".into()));
        assert_eq!(r#async(1).await, 1);
        assert_eq!(async_entry(1).get().await, Some(1));
        assert_eq!((load_one(1, 2).await, load_two(3, 4).await), (1, 3));
        assert_eq!(by_id(1).await, 1);
        assert_eq!((own_id(1, 2).await, own_id(1, 3).await, own_id(2, 2).await), ((1, 2), (1, 3), (1, 2)));
        assert_eq!((borrowed_id("a", 2).await, borrowed_id("b", 2).await), (("a".into(), 2), ("b".into(), 2)));
        assert_eq!((first::twin(1).await, second::twin(1).await), (2, 3));
    });
}
