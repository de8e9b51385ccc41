//! The attribute's arguments, as written.

use proc_macro2::{Ident, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::token::Paren;
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
    pub(crate) remote: Option<Said<()>>,
    pub(crate) codec: Option<Said<Path>>,
    pub(crate) weight: Option<Said<Expr>>,
    pub(crate) name: Option<Said<LitStr>>,
    pub(crate) version: Option<Said<LitInt>>,
    pub(crate) entry: Option<Said<EntryName>>,
    pub(crate) inline: Option<Said<()>>,
    pub(crate) krate: Option<Said<Path>>,
    /// What was said and could not be read.
    unread: Vec<String>,
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

/// What can be said, and how.
const ALLOWED: [(&str, &str); 26] = [
    ("ttl", "ttl = \"5s\""),
    ("key", "key = \"tenant, user.id\""),
    ("skip", "skip(pool)"),
    ("stale_while_revalidate", "stale_while_revalidate = \"30s\""),
    ("stale_if_error", "stale_if_error = \"10m\""),
    ("retry_after", "retry_after = \"1s\""),
    ("refresh_ahead", "refresh_ahead = 0.8"),
    ("xfetch", "xfetch = 1.0"),
    ("jitter", "jitter = 0.1"),
    ("timeout", "timeout = \"2s\""),
    ("soft_timeout", "soft_timeout = \"200ms\""),
    ("run_limit", "run_limit = \"1m\""),
    ("error_ttl", "error_ttl = \"1s\""),
    ("breaker", "breaker(failures = 5, reset_after = \"30s\")"),
    ("tags", "tags = \"tenant, user.group\""),
    ("cache_if", "cache_if = Option::is_some"),
    ("share_error", "share_error = copy_of"),
    ("store", "store = self.store"),
    ("remote", "remote"),
    ("codec", "codec = stampede::codec::Json"),
    ("weight", "weight = size_of_value"),
    ("name", "name = \"users\""),
    ("version", "version = 2"),
    ("entry", "entry = user_in_store` or `entry = false"),
    ("inline", "inline"),
    ("crate", "crate = path::to::stampede"),
];

impl Args {
    /// Reads all arguments; what cannot be read is a fault each.
    pub(crate) fn parse(tokens: TokenStream, faults: &mut Faults) -> Self {
        let mut args = Self::default();
        let parser = |input: ParseStream<'_>| {
            while !input.is_empty() {
                let word = input.fork().call(Ident::parse_any).map(|word| word.to_string());
                if let Err(fault) = args.one(input) {
                    faults.add(fault);
                    args.unread.extend(word);
                    skip_to_comma(input)?;
                }
                if !input.is_empty() && input.parse::<Option<Token![,]>>()?.is_none() {
                    return Err(input.error("expected `,`: write commas between the arguments"));
                }
            }
            Ok(())
        };
        let result = parser.parse2(tokens);
        faults.take(result);
        args
    }

    /// Whether one of these was said in a way that could not be read. Then nothing can be known of what depends on it.
    pub(crate) fn is_unread(&self, words: &[&str]) -> bool {
        self.unread.iter().any(|unread| words.contains(&unread.as_str()))
    }

    fn one(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let word = if input.peek(Token![crate]) {
            Ident::new("crate", input.parse::<Token![crate]>()?.span)
        } else {
            let expected =
                |fault: syn::Error| syn::Error::new(fault.span(), format!("expected an argument: {}", allowed()));
            input.parse::<Ident>().map_err(expected)?
        };
        match word.to_string().as_str() {
            "ttl" => set(&mut self.ttl, word, input, value),
            "key" => set(&mut self.key, word, input, expressions),
            "skip" => set(&mut self.skip, word, input, skip),
            "stale_while_revalidate" => set(&mut self.stale_while_revalidate, word, input, value),
            "retry_after" => set(&mut self.retry_after, word, input, value),
            "stale_if_error" => set(&mut self.stale_if_error, word, input, value),
            "refresh_ahead" => set(&mut self.refresh_ahead, word, input, value),
            "xfetch" => set(&mut self.xfetch, word, input, value),
            "jitter" => set(&mut self.jitter, word, input, value),
            "timeout" => set(&mut self.timeout, word, input, value),
            "soft_timeout" => set(&mut self.soft_timeout, word, input, value),
            "error_ttl" => set(&mut self.error_ttl, word, input, value),
            "breaker" => set(&mut self.breaker, word, input, breaker),
            "tags" => set(&mut self.tags, word, input, expressions),
            "run_limit" => set(&mut self.run_limit, word, input, value),
            "cache_if" => set(&mut self.cache_if, word, input, value),
            "share_error" => set(&mut self.share_error, word, input, value),
            "store" => set(&mut self.store, word, input, value),
            "weight" => set(&mut self.weight, word, input, value),
            "name" => set(&mut self.name, word, input, value),
            "version" => set(&mut self.version, word, input, value),
            "entry" => set(&mut self.entry, word, input, value),
            "remote" => set(&mut self.remote, word, input, alone),
            "codec" => set(&mut self.codec, word, input, value),
            "inline" => set(&mut self.inline, word, input, alone),
            "crate" => set(&mut self.krate, word, input, |input| {
                input.parse::<Token![=]>()?;
                Path::parse_mod_style(input)
            }),
            unknown => Err(syn::Error::new(word.span(), unknown_argument(unknown))),
        }
    }
}

fn set<T>(
    slot: &mut Option<Said<T>>,
    word: Ident,
    input: ParseStream<'_>,
    parse: impl FnOnce(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<()> {
    let value = parse(input).map_err(|fault| {
        // The end of the input has no place but the whole attribute.
        let is_at_end = fault.to_string().starts_with("unexpected end");
        let span = if is_at_end { word.span() } else { fault.span() };
        let usage = ALLOWED.iter().find(|(allowed, _)| word == allowed).map_or("", |(_, usage)| usage);
        syn::Error::new(span, format!("{fault}: write `{usage}`"))
    })?;
    if slot.is_some() {
        return Err(syn::Error::new(word.span(), format!("`{word}` is said twice: remove one of them")));
    }
    *slot = Some(Said { word, value });
    Ok(())
}

fn value<T: Parse>(input: ParseStream<'_>) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn alone(input: ParseStream<'_>) -> syn::Result<()> {
    if input.peek(Token![=]) || input.peek(Paren) {
        return Err(input.error("it stands alone"));
    }
    Ok(())
}

fn expressions(input: ParseStream<'_>) -> syn::Result<Vec<Expr>> {
    input.parse::<Token![=]>()?;
    let text: LitStr = input.parse()?;
    let parts = text.parse_with(Punctuated::<Expr, Token![,]>::parse_terminated).map_err(|fault| {
        let message = format!("not expressions with commas between ({fault})");
        syn::Error::new(fault.span(), message)
    })?;
    Ok(parts.into_iter().collect())
}

/// The two parts of a breaker, in whatever order.
fn breaker(input: ParseStream<'_>) -> syn::Result<BreakerArgs> {
    let parts;
    parenthesized!(parts in input);
    let (mut failures, mut reset_after) = (None, None);
    let mut read = || {
        while !parts.is_empty() {
            let part: Ident = parts.parse()?;
            let slot = match part.to_string().as_str() {
                "failures" => &mut failures,
                "reset_after" => &mut reset_after,
                unknown => return Err(syn::Error::new(part.span(), format!("`breaker` has no part `{unknown}`"))),
            };
            if slot.replace(value(&parts)?).is_some() {
                return Err(syn::Error::new(part.span(), format!("`{part}` is said twice")));
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
    let lacks = |part| parts.error(format!("`breaker` lacks `{part}`"));
    Ok(BreakerArgs {
        failures: failures.ok_or_else(|| lacks("failures"))?,
        reset_after: reset_after.ok_or_else(|| lacks("reset_after"))?,
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
                Err(syn::Error::new(said.span, "the companion is there unless told"))
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
    let nearest = ALLOWED.iter().map(|(allowed, _)| *allowed).min_by_key(|allowed| distance(unknown, allowed));
    let suggestion = match nearest {
        Some(nearest) if distance(unknown, nearest) <= 1 + nearest.len() / 4 => {
            format!(": did you mean `{nearest}`?")
        }
        _ => String::new(),
    };
    format!("there is no argument `{unknown}`{suggestion} ({})", allowed())
}

fn allowed() -> String {
    format!("allowed: {}", ALLOWED.map(|(allowed, _)| allowed).join(", "))
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
