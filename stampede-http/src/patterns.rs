//! Texts of which the last letters may be left open. Pure.

use std::borrow::Cow;

/// Several, each of which stands for itself or, with a `*` at its end, for all that begin like it.
#[derive(Clone, Debug)]
pub(crate) struct Patterns(Vec<Cow<'static, str>>);

impl Patterns {
    pub(crate) fn new(patterns: impl IntoIterator<Item: Into<Cow<'static, str>>>) -> Self {
        Self(patterns.into_iter().map(Into::into).collect())
    }

    /// The same for names of headers, which know no capitals.
    pub(crate) fn of_names(names: impl IntoIterator<Item: Into<Cow<'static, str>>>) -> Self {
        Self::new(names.into_iter().map(|name| name.into().to_ascii_lowercase()))
    }

    pub(crate) fn contain(&self, text: &str) -> bool {
        self.0.iter().any(|known| match known.strip_suffix('*') {
            Some(start) => text.starts_with(start),
            None => text == known,
        })
    }
}
