//! The attribute where the facade bears another name, or is reached through another crate, in edition 2021.
#![deny(warnings, missing_docs, unsafe_code, clippy::all, clippy::pedantic, clippy::nursery)]
#![allow(clippy::missing_errors_doc, reason = "shown elsewhere")]

/// What another crate might hand on.
pub mod handed_on {
    pub use cache as stampede;
}

/// By the name that the manifest gives.
#[cache::coalesce(ttl = "5s", key = "id", crate = cache)]
pub async fn renamed(id: u64, name: &str) -> Result<String, String> {
    Ok(format!("{id} {name}"))
}

/// By a path within this crate.
#[handed_on::stampede::coalesce(ttl = "5s", stale_while_revalidate = "1m", crate = crate::handed_on::stampede)]
pub async fn by_path(id: u64) -> u64 {
    id
}

/// Something with methods.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Whose.
    pub tenant: u32,
}

impl Repository {
    /// By the absolute path.
    #[cache::coalesce(ttl = "5s", key = "self.tenant, words", crate = ::cache)]
    pub async fn method(&self, words: &[&str]) -> usize {
        words.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn they_work() {
        assert_eq!(renamed(1, "a").await.as_deref(), Ok("1 a"));
        assert_eq!(renamed_entry(1).get().await.as_deref(), Some("1 a"));
        assert_eq!(by_path(1).await, 1);
        assert_eq!(Repository { tenant: 1 }.method(&["a", "b"]).await, 2);
    }
}
