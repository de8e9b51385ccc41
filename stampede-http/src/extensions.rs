//! What a handler says about its own response, as extensions of it.

use std::time::Duration;

/// A response extension: this response is for those who wait for it, and is not stored.
///
/// ```
/// # #![allow(unused)]
/// use http::Response;
///
/// fn handler() -> Response<&'static str> {
///     let mut response = Response::new("not yet known");
///     response.extensions_mut().insert(stampede::http::NoCache);
///     response
/// }
/// ```
///
/// In axum, `(Extension(NoCache), "…")` says the same. [`no_cache`](stampede_runtime::no_cache), called within the handler,
/// does, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoCache;

/// A response extension: this response is fresh for so long, whatever the layer's TTL is. What its headers say, and the
/// store's `max_ttl`, may still make that less; zero keeps it out of the store.
///
/// [`store_for`](stampede_runtime::store_for), called within the handler, says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFor(pub Duration);

/// A response extension: tags that this response is stored with, besides those of the layer.
/// [`Store::invalidate_tag`](stampede_runtime::Store::invalidate_tag) voids all that bear one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<String>);

impl Tags {
    /// These tags.
    pub fn new(tags: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(tags.into_iter().map(Into::into).collect())
    }

    pub(crate) fn texts(&self) -> &[String] {
        &self.0
    }
}
