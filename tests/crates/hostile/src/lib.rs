//! The attribute where well-known names mean something else, in edition 2021.
#![no_implicit_prelude]
#![deny(warnings, missing_docs, unsafe_code, clippy::all, clippy::pedantic, clippy::nursery)]
#![allow(
    clippy::missing_errors_doc,
    dead_code,
    unused_macros,
    non_upper_case_globals,
    non_camel_case_types,
    reason = "that is the point"
)]

mod core {}
mod std {}
mod alloc {}
mod stampede {}
mod tokio {}
mod serde {}

macro_rules! impostors {
    ($($name:ident),*) => { $(struct $name;)* };
}

impostors!(
    Result, Option, Ok, Err, Some, None, Box, Vec, String, Default, Send, Sync, Future, Pin, Duration, Store, Site
);

trait Clone {}
trait Into {}
trait From {}
trait Drop {}
trait Fn {}
trait FnOnce {}
trait Sized {}
trait ToOwned {
    fn of(&self) {}
    fn snap(&self) {}
    fn lend(&self) {}
    fn arg(&self) {}
    fn again(&self) {}
    fn get(&self) {}
    fn reply(&self) {}
    fn kept(&self) {}
    fn clone(&self) {}
}

impl<T> ToOwned for T {}

macro_rules! concat {
    ($($any:tt)*) => {
        ::std::compile_error!("not this one")
    };
}

macro_rules! module_path {
    ($($any:tt)*) => {
        ::std::compile_error!("not this one")
    };
}

/// A function.
#[::stampede::coalesce(ttl = "5s", stale_while_revalidate = "1m", key = "id")]
pub async fn function(id: u64, name: &str) -> ::std::result::Result<u64, ::std::string::String> {
    ::std::result::Result::Ok(id + name.len() as u64)
}

/// Something with methods.
#[derive(::std::clone::Clone)]
pub struct Repository {
    tenant: u32,
}

impl Repository {
    /// Detached.
    #[::stampede::coalesce(ttl = "5s", key = "self.tenant, id", share_error = ::std::clone::Clone::clone)]
    pub async fn method(&self, id: &[u8]) -> ::std::result::Result<usize, ::std::string::String> {
        ::std::result::Result::Ok(id.len())
    }

    /// In the caller's task.
    #[::stampede::coalesce(ttl = "5s", key = "self.tenant, id", inline)]
    pub async fn inlined<T: ::std::clone::Clone + ::std::marker::Send + ::std::marker::Sync + 'static>(
        &self,
        id: u8,
        _more: T,
    ) -> u8 {
        id
    }

    /// In place.
    #[::stampede::coalesce(ttl = "5s", key = "self.tenant, a", entry = false)]
    async fn in_place(&self, (a, b): (u8, u8)) -> ::std::option::Option<u8> {
        ::std::option::Option::Some(a + b)
    }
}

#[cfg(test)]
mod tests {
    use ::std::assert_eq;
    use ::std::option::Option::Some;
    use ::std::result::Result::Ok;

    use super::{function, function_entry, Repository};

    #[test]
    fn they_work() {
        let runtime = ::tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { ::std::panic!("no runtime") };
        runtime.block_on(async {
            assert_eq!(function(1, "a").await, Ok(2));
            assert_eq!(function_entry(1).get().await, Some(2));
            let repository = Repository { tenant: 1 };
            assert_eq!(repository.method(&[1, 2]).await, Ok(2));
            assert_eq!(repository.inlined(1, ()).await, 1);
            assert_eq!(repository.in_place((1, 2)).await, Some(3));
        });
    }
}
