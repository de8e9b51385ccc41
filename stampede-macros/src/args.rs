//! The attribute's arguments, as written.

use proc_macro2::{Ident, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Expr, ExprLit, Lit, LitBool, LitInt, LitStr, Path, Token, parenthesized};

use crate::diagnostics::Faults;

/// What may be said, once each.
#[derive(Default)]
pub(crate) struct Args {
    pub(crate) ttl: Option<Said<Expr>>,
    pub(crate) key: Option<Said<Vec<Expr>>>,
    pub(crate) skip: Option<Said<Vec<Ident>>>,
    pub(crate) stale_while_revalidate: Option<Said<Expr>>,
    pub(crate) stale_if_error: Option<Said<Expr>>,
    pub(crate) retry_after: Option<Said<Expr>>,
    pub(crate) refresh_ahead: Option<Said<Expr>>,
    pub(crate) xfetch: Option<Said<Expr>>,
    pub(crate) jitter: Option<Said<Expr>>,
    pub(crate) timeout: Option<Said<Expr>>,
    pub(crate) soft_timeout: Option<Said<Expr>>,
    pub(crate) run_limit: Option<Said<Expr>>,
    pub(crate) error_ttl: Option<Said<Expr>>,
    pub(crate) breaker: Option<Said<BreakerArgs>>,
    pub(crate) tags: Option<Said<Vec<Expr>>>,
    pub(crate) cache_if: Option<Said<Expr>>,
    pub(crate) share_error: Option<Said<Expr>>,
    pub(crate) store: Option<Said<Expr>>,
    pub(crate) weight: Option<Said<Expr>>,
    pub(crate) name: Option<Said<LitStr>>,
    pub(crate) version: Option<Said<LitInt>>,
    pub(crate) entry: Option<Said<EntryName>>,
    pub(crate) inline: Option<Said<()>>,
    pub(crate) krate: Option<Said<Path>>,
}

/// An argument's value with the word that introduced it.
pub(crate) struct Said<T> {
    pub(crate) word: Ident,
    pub(crate) value: T,
}

/// What `entry = …` may say.
pub(crate) enum EntryName {
    Named(Ident),
    LeftOut,
}

/// What `breaker(…)` says.
pub(crate) struct BreakerArgs {
    pub(crate) failures: Expr,
    pub(crate) reset_after: Expr,
}

const ALLOWED: [&str; 24] = [
    "ttl",
    "key",
    "skip",
    "stale_while_revalidate",
    "stale_if_error",
    "retry_after",
    "refresh_ahead",
    "xfetch",
    "jitter",
    "timeout",
    "soft_timeout",
    "run_limit",
    "error_ttl",
    "breaker",
    "tags",
    "cache_if",
    "share_error",
    "store",
    "weight",
    "name",
    "version",
    "entry",
    "inline",
    "crate",
];

impl Args {
    /// Reads all arguments; what cannot be read is a fault each.
    pub(crate) fn parse(tokens: TokenStream, faults: &mut Faults) -> Self {
        let mut args = Self::default();
        let parser = |input: ParseStream<'_>| {
            while !input.is_empty() {
                if let Err(fault) = args.one(input) {
                    faults.add(fault);
                    skip_to_comma(input)?;
                }
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Ok(())
        };
        let result = parser.parse2(tokens);
        faults.take(result);
        args
    }

    fn one(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let word = if input.peek(Token![crate]) {
            Ident::new("crate", input.parse::<Token![crate]>()?.span)
        } else {
            input.parse::<Ident>().map_err(|fault| {
                syn::Error::new(fault.span(), format!("expected an argument: one of {}", ALLOWED.join(", ")))
            })?
        };
        match word.to_string().as_str() {
            "ttl" => set(&mut self.ttl, word, || value(input)),
            "key" => set(&mut self.key, word, || expressions(input, "key = \"tenant, user.id\"")),
            "skip" => set(&mut self.skip, word, || skip(input)),
            "stale_while_revalidate" => set(&mut self.stale_while_revalidate, word, || value(input)),
            "retry_after" => set(&mut self.retry_after, word, || value(input)),
            "stale_if_error" => set(&mut self.stale_if_error, word, || value(input)),
            "refresh_ahead" => set(&mut self.refresh_ahead, word, || value(input)),
            "xfetch" => set(&mut self.xfetch, word, || value(input)),
            "jitter" => set(&mut self.jitter, word, || value(input)),
            "timeout" => set(&mut self.timeout, word, || value(input)),
            "soft_timeout" => set(&mut self.soft_timeout, word, || value(input)),
            "error_ttl" => set(&mut self.error_ttl, word, || value(input)),
            "breaker" => set(&mut self.breaker, word.clone(), || breaker(&word, input)),
            "tags" => set(&mut self.tags, word, || expressions(input, "tags = \"tenant, user.group\"")),
            "run_limit" => set(&mut self.run_limit, word, || value(input)),
            "cache_if" => set(&mut self.cache_if, word, || value(input)),
            "share_error" => set(&mut self.share_error, word, || value(input)),
            "store" => set(&mut self.store, word, || value(input)),
            "weight" => set(&mut self.weight, word, || value(input)),
            "name" => set(&mut self.name, word, || value(input)),
            "version" => set(&mut self.version, word, || value(input)),
            "entry" => set(&mut self.entry, word, || value(input)),
            "inline" => set(&mut self.inline, word, || Ok(())),
            "crate" => set(&mut self.krate, word, || {
                input.parse::<Token![=]>()?;
                Path::parse_mod_style(input)
            }),
            unknown => Err(syn::Error::new(word.span(), unknown_argument(unknown))),
        }
    }
}

fn set<T>(slot: &mut Option<Said<T>>, word: Ident, parse: impl FnOnce() -> syn::Result<T>) -> syn::Result<()> {
    if slot.is_some() {
        parse()?;
        return Err(syn::Error::new(word.span(), format!("`{word}` is said twice: remove one of them")));
    }
    *slot = Some(Said { value: parse()?, word });
    Ok(())
}

fn value<T: Parse>(input: ParseStream<'_>) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn expressions(input: ParseStream<'_>, example: &str) -> syn::Result<Vec<Expr>> {
    input.parse::<Token![=]>()?;
    let text: LitStr = input
        .parse()
        .map_err(|fault| syn::Error::new(fault.span(), format!("expected a string of expressions, as in {example}")))?;
    let parts = text.parse_with(Punctuated::<Expr, Token![,]>::parse_terminated)?;
    Ok(parts.into_iter().collect())
}

/// The two parts of a breaker, in whatever order.
fn breaker(word: &Ident, input: ParseStream<'_>) -> syn::Result<BreakerArgs> {
    const EXAMPLE: &str = "write breaker(failures = 5, reset_after = \"30s\")";
    if !input.peek(syn::token::Paren) {
        return Err(syn::Error::new(word.span(), format!("`breaker` has two parts: {EXAMPLE}")));
    }
    let parts;
    parenthesized!(parts in input);
    let (mut failures, mut reset_after) = (None, None);
    let mut read = || {
        while !parts.is_empty() {
            let part: Ident = parts.parse()?;
            match part.to_string().as_str() {
                "failures" => set(&mut failures, part, || value(&parts))?,
                "reset_after" => set(&mut reset_after, part, || value(&parts))?,
                unknown => {
                    return Err(syn::Error::new(part.span(), format!("`breaker` has no part `{unknown}`: {EXAMPLE}")));
                }
            }
            if !parts.is_empty() {
                parts.parse::<Token![,]>()?;
            }
        }
        Ok(())
    };
    let result = read();
    // What is left over is no fault of its own.
    let _: TokenStream = parts.parse()?;
    result?;
    let missing = |part| syn::Error::new(word.span(), format!("`breaker` lacks `{part}`: {EXAMPLE}"));
    Ok(BreakerArgs {
        failures: failures.ok_or_else(|| missing("failures"))?.value,
        reset_after: reset_after.ok_or_else(|| missing("reset_after"))?.value,
    })
}

fn skip(input: ParseStream<'_>) -> syn::Result<Vec<Ident>> {
    let names;
    parenthesized!(names in input);
    let names = names.parse_terminated(Ident::parse_any, Token![,])?;
    Ok(names.into_iter().collect())
}

impl Parse for EntryName {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(LitBool) {
            let said: LitBool = input.parse()?;
            return if said.value {
                Err(syn::Error::new(
                    said.span,
                    "the companion is there unless told: remove this, or write `entry = name`",
                ))
            } else {
                Ok(Self::LeftOut)
            };
        }
        input.parse().map(Self::Named)
    }
}

fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

fn unknown_argument(unknown: &str) -> String {
    let nearest = ALLOWED.iter().min_by_key(|allowed| distance(unknown, allowed));
    let suggestion = match nearest {
        Some(nearest) if distance(unknown, nearest) <= 1 + nearest.len() / 4 => {
            format!(": did you mean `{nearest}`?")
        }
        _ => String::new(),
    };
    format!("there is no argument `{unknown}`{suggestion} (allowed: {})", ALLOWED.join(", "))
}

/// The number of letters to change, add or leave out to get from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The text of an expression that is a string literal.
pub(crate) fn as_string(expr: &Expr) -> Option<&LitStr> {
    match expr {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text),
        _ => None,
    }
}
