//! Arguments that borrow, in the ways that can be copied.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;

use stampede::coalesce;

use super::run;

/// Slices of references.
#[coalesce(ttl = "5s")]
pub async fn slices(words: &[&str], paths: Vec<&Path>, numbers: &[u8]) -> String {
    tokio::task::yield_now().await;
    format!("{words:?} {paths:?} {numbers:?}")
}

/// Perhaps a reference.
#[coalesce(ttl = "5s", key = "word, number")]
pub async fn perhaps(word: Option<&str>, number: Option<&u64>, name: &OsStr) -> String {
    format!("{word:?} {number:?} {name:?}")
}

/// Perhaps owned.
#[coalesce(ttl = "5s")]
pub async fn cows(word: Cow<'_, str>, bytes: Cow<'_, [u8]>) -> usize {
    word.len() + bytes.len()
}

/// What is good for ever need not be `Clone`.
pub struct Config {
    /// A figure.
    pub figure: u32,
}

static CONFIG: Config = Config { figure: 9 };

/// A reference to it.
#[coalesce(ttl = "5s", key = "word")]
pub async fn forever(config: &'static Config, word: &'static str, words: &[&'static str]) -> u32 {
    assert_eq!(word.len(), words.len());
    config.figure
}

/// A borrowing struct.
#[derive(Clone, Debug)]
pub struct Row<'r>(pub &'r str);

/// Runs in the caller's task, which may borrow anything.
#[coalesce(ttl = "5s", key = "row.0, tuple", inline)]
pub async fn inlined(row: Row<'_>, tuple: (&str, &u8), more: &mut_free::Borrowing<'_>) -> String {
    tokio::task::yield_now().await;
    format!("{row:?} {tuple:?} {}", more.0)
}

mod mut_free {
    /// Not `Clone`.
    pub struct Borrowing<'b>(pub &'b str);
}

/// Named lifetimes, bounded and not.
#[coalesce(ttl = "5s")]
pub async fn lifetimes<'a, 'b>(a: &'a str, b: &'b [u8]) -> usize
where
    'b: 'a,
{
    a.len() + b.len()
}

/// Functions as arguments.
#[coalesce(ttl = "5s", key = "id")]
pub async fn functions(
    id: u8,
    f: fn(&u8) -> &u8,
    g: impl Fn(&u8) -> Option<&u8> + Clone + Send + Sync + 'static,
) -> u8 {
    f(&id) + g(&id).unwrap_or(&0)
}

#[test]
fn they_are_copied_for_the_run() {
    run(async {
        let word = String::from("a");
        let said = slices(&[&word, "b"], vec![Path::new("/")], &[1, 2]).await;
        assert_eq!(said, r#"["a", "b"] ["/"] [1, 2]"#);
        assert_eq!(perhaps(Some(&word), None, OsStr::new("x")).await, r#"Some("a") None "x""#);
        assert_eq!(cows(Cow::Borrowed(&word), vec![1].into()).await, 2);
        assert_eq!(forever(&CONFIG, "w", &["x"]).await, 9);
        assert_eq!(inlined(Row(&word), (&word, &1), &mut_free::Borrowing(&word)).await, r#"Row("a") ("a", 1) a"#);
        assert_eq!(lifetimes(&word, &[1]).await, 2);
        assert_eq!(functions(1, |id| id, |id| Some(id)).await, 2);
    });
}
