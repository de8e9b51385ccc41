//! The arguments about freshness and failure: their values, and what contradicts what.

use std::time::Duration;

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, ExprUnary, Lit, UnOp};

use crate::args::{Args, Said, as_string};
use crate::diagnostics::Faults;
use crate::duration;
use crate::model;

/// The options that are not durations, each as the call of a setter.
pub(crate) fn options(args: &Args, faults: &mut Faults) -> Vec<TokenStream> {
    let mut options = Vec::new();
    let least = f64::MIN_POSITIVE;
    let shares = [
        (&args.refresh_ahead, least..1.0, "a share of the TTL, between 0 and 1: write 0.8, say"),
        (&args.xfetch, least..f64::INFINITY, "β, a number above 0: write 1.0, say"),
        (&args.jitter, 0.0..1.0, "a share of the TTL, from 0 to below 1: write 0.1, say"),
    ];
    for (said, range, what) in shares {
        let Some(Said { word, value }) = said else { continue };
        let value = match (number(value), as_string(value)) {
            (Some(number), _) if range.contains(&number) => quote_spanned!(value.span()=> #number),
            (None, None) => value.to_token_stream(),
            _ => {
                faults.at(value, format!("`{word}` is {what}"));
                continue;
            }
        };
        options.push(quote_spanned!(value.span()=> .#word(#value)));
    }
    if let Some(Said { word, value }) = &args.breaker {
        let (failures, reset_after) = (&value.failures, &value.reset_after);
        if number(failures).is_some_and(|failures| failures < 1.0) || as_string(failures).is_some() {
            faults.at(failures, "`failures` is how many runs in a row fail before the breaker opens: 1 or more");
        }
        if literal(reset_after).is_some_and(|time| time.is_zero()) {
            faults.at(reset_after, "a breaker that opens for no time never does: write a longer `reset_after`");
        }
        let part = Ident::new("reset_after", word.span());
        if let Some(reset_after) = model::duration(&part, reset_after, faults) {
            options.push(quote_spanned!(word.span()=> .breaker(#failures, #reset_after)));
        }
    }
    if let Some(Said { word, value }) = &args.tags {
        if value.is_empty() {
            faults.at(word, "no tags: name what entries can be voided by, or leave `tags` out");
        }
        let tags = value.iter().map(|tag| quote_spanned!(tag.span()=> __stampede::TagText::tag(&(#tag))));
        options.push(quote_spanned!(word.span()=> .tags(&[#(#tags),*])));
    }
    options
}

/// What the function's error has to be able to say.
pub(crate) fn own_errors(args: &Args) -> Vec<(&'static str, Ident)> {
    let said = [
        ("with_errors", args.error_ttl.as_ref().map(|said| &said.word)),
        ("with_timeout", args.timeout.as_ref().map(|said| &said.word)),
        ("with_breaker", args.breaker.as_ref().map(|said| &said.word)),
    ];
    said.into_iter().filter_map(|(name, word)| Some((name, word?.clone()))).collect()
}

/// The codec of values that go to the remote tier.
pub(crate) fn remote(args: &Args) -> Option<TokenStream> {
    let Said { word, .. } = args.remote.as_ref()?;
    let default = || quote_spanned!(word.span()=> __stampede::DefaultCodec);
    Some(args.codec.as_ref().map_or_else(default, |said| said.value.to_token_stream()))
}

/// Arguments that make no sense without, or beside, each other.
pub(crate) fn check(args: &Args, faults: &mut Faults) {
    let word = |said: &Option<Said<Expr>>| said.as_ref().map(|said| said.word.clone());
    if args.ttl.is_none() && !args.is_unread(&["ttl"]) {
        for (said, why) in [
            (word(&args.stale_while_revalidate), "needs a `ttl` after which a value is stale"),
            (word(&args.stale_if_error), "needs a `ttl` after which a value is stale"),
            (word(&args.refresh_ahead), "needs a `ttl` to be a share of"),
            (word(&args.xfetch), "needs a `ttl` before whose end it refreshes"),
            (word(&args.jitter), "needs a `ttl` to be a share of"),
            (args.tags.as_ref().map(|said| said.word.clone()), "needs a `ttl`: nothing is stored that could be voided"),
            (args.remote.as_ref().map(|said| said.word.clone()), "needs a `ttl` for what it stores"),
        ] {
            if let Some(word) = said {
                faults.at(&word, format!("`{word}` {why}: add `ttl = \"…\"`"));
            }
        }
    }
    if let Some(said) = &args.codec
        && args.remote.is_none()
        && !args.is_unread(&["remote"])
    {
        faults.at(&said.word, "`codec` is about values that go to the remote tier: add `remote`");
    }
    let has_window = args.stale_while_revalidate.is_some()
        || args.stale_if_error.is_some()
        || args.is_unread(&["stale_while_revalidate", "stale_if_error"]);
    let refreshes_early =
        args.refresh_ahead.is_some() || args.xfetch.is_some() || args.is_unread(&["refresh_ahead", "xfetch"]);
    if let Some(said) = &args.retry_after
        && !has_window
        && !refreshes_early
    {
        faults.at(
            &said.word,
            "`retry_after` puts off the next run while there is an old value: add `stale_while_revalidate = \"…\"`, \
             `stale_if_error = \"…\"`, `refresh_ahead` or `xfetch`",
        );
    }
    if let Some(said) = &args.soft_timeout {
        if !has_window {
            faults.at(
                &said.word,
                "`soft_timeout` answers with an old value: add `stale_if_error = \"…\"` or `stale_while_revalidate = \"…\"`",
            );
        }
        if let Some(timeout) = &args.timeout
            && let (Some(soft), Some(hard)) = (literal(&said.value), literal(&timeout.value))
            && soft >= hard
        {
            faults.at(
                &said.value,
                "`soft_timeout` is not shorter than `timeout`, which ends the call: write a shorter one",
            );
        }
    }
    if let (Some(_), Some(said)) = (&args.refresh_ahead, &args.xfetch) {
        faults.at(&said.word, "`xfetch` and `refresh_ahead` both say when to refresh early: write one of them");
    }
}

/// A duration that is written out.
fn literal(expr: &Expr) -> Option<Duration> {
    duration::parse(&as_string(expr)?.value()).ok()
}

/// A number that is written out.
fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Lit(ExprLit { lit: Lit::Float(number), .. }) => number.base10_parse().ok(),
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().ok(),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => number(expr).map(|number| -number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    /// What the attribute says to these arguments.
    fn faults(args: &str) -> Vec<String> {
        let item = "async fn f(id: u64) -> Result<u64, E> { Ok(id) }";
        let output = crate::coalesced(&args.parse().expect("tokens"), &item.parse().expect("tokens")).to_string();
        output.split("compile_error !").skip(1).map(|fault| fault.trim().to_owned()).collect()
    }

    #[test]
    fn contradictions_name_both_sides() {
        for (args, says) in [
            ("stale_if_error = \"1m\"", "`stale_if_error` needs a `ttl`"),
            ("stale_while_revalidate = \"1m\"", "`stale_while_revalidate` needs a `ttl`"),
            ("refresh_ahead = 0.8", "`refresh_ahead` needs a `ttl`"),
            ("xfetch = 1.0", "`xfetch` needs a `ttl`"),
            ("jitter = 0.1", "`jitter` needs a `ttl`"),
            ("tags = \"id\"", "`tags` needs a `ttl`"),
            ("ttl = \"5s\", retry_after = \"1s\"", "`retry_after` puts off"),
            ("ttl = \"5s\", soft_timeout = \"1s\"", "add `stale_if_error"),
            (
                "ttl = \"5s\", stale_if_error = \"1m\", soft_timeout = \"1s\", timeout = \"1000ms\"",
                "`soft_timeout` is not shorter than `timeout`",
            ),
            ("ttl = \"5s\", refresh_ahead = 0.8, xfetch = 1.0", "`xfetch` and `refresh_ahead` both say"),
        ] {
            let faults = faults(args);
            assert!(faults.len() == 1 && faults[0].contains(says), "{args}: {faults:?}");
        }
    }

    #[test]
    fn values_are_checked() {
        for (args, says) in [
            ("refresh_ahead = 0.0", "between 0 and 1"),
            ("refresh_ahead = 1", "between 0 and 1"),
            ("refresh_ahead = \"80%\"", "between 0 and 1"),
            ("xfetch = 0", "above 0"),
            ("xfetch = -1.0", "above 0"),
            ("jitter = 1.0", "from 0 to below 1"),
            ("jitter = -0.1", "from 0 to below 1"),
            ("timeout = \"5\"", "has no unit"),
            ("error_ttl = \"5 parsecs\"", "no unit of time"),
            ("tags = id", "write `tags"),
            ("tags = \"\"", "no tags"),
            ("breaker", "write `breaker(failures"),
            ("breaker = 5", "write `breaker(failures"),
            ("breaker(failures = 5)", "`breaker` lacks `reset_after`"),
            ("breaker(reset_after = \"1s\")", "`breaker` lacks `failures`"),
            ("breaker(failures = 0, reset_after = \"1s\")", "1 or more"),
            ("breaker(failures = 5, reset_after = \"0s\")", "a longer `reset_after`"),
            ("breaker(failures = 5, reset_after = \"soon\")", "is no duration"),
            ("breaker(fails = 5, reset_after = \"1s\")", "no part `fails`"),
            ("breaker(failures = 5, failures = 5)", "said twice"),
        ] {
            let faults = faults(&format!("ttl = \"5s\", {args}"));
            assert!(faults.len() == 1 && faults[0].contains(says), "{args}: {faults:?}");
        }
    }

    #[test]
    fn all_faults_are_told_together() {
        assert_eq!(faults("stale_if_error = \"1\", jitter = 2, soft_timeout = \"1s\", timeout = \"1s\"").len(), 5);
    }

    #[test]
    fn what_makes_sense_is_taken() {
        for args in [
            "ttl = \"5s\", stale_if_error = \"1m\", soft_timeout = \"1s\", timeout = \"2s\", retry_after = \"1s\"",
            "ttl = \"5s\", refresh_ahead = 0.8, jitter = 0, retry_after = \"1s\"",
            "ttl = \"5s\", xfetch = 1, tags = \"format!(\\\"{id}\\\"), \\\"all\\\"\"",
            "ttl = TTL, refresh_ahead = share(), jitter = 0.1, breaker(reset_after = RESET, failures = FAILURES)",
            "error_ttl = \"1s\", timeout = \"1s\", breaker(failures = 5, reset_after = \"30s\")",
        ] {
            assert!(faults(args).is_empty(), "{args}: {:?}", faults(args));
        }
    }
}
