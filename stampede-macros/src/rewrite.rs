//! Changes to the user's tokens, where they cannot stay as they are.

use proc_macro2::{Delimiter, Group, Ident, Literal, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Expr;
use syn::ext::IdentExt;

/// Lets names mean what they mean in the signature. What was read from a string means what it means where the string was
/// written, and that is another place if a macro wrote it and was given the names.
pub(crate) fn as_in_signature(expr: &Expr, names: &[Ident]) -> Expr {
    fn rewritten(tokens: TokenStream, names: &[Ident]) -> TokenStream {
        let token = |token| match token {
            TokenTree::Group(group) => regroup(&group, rewritten(group.stream(), names)),
            TokenTree::Ident(mut ident) => {
                let mut same = names.iter().filter(|name| name.unraw() == ident.unraw());
                // Two of one spelling differ by where they were written; the string says which it means.
                if let (Some(name), None) = (same.next(), same.next()) {
                    ident.set_span(name.span().located_at(ident.span()));
                }
                ident.into()
            }
            other => other,
        };
        tokens.into_iter().map(token).collect()
    }

    syn::parse2(rewritten(expr.to_token_stream(), names)).unwrap_or_else(|_| expr.clone())
}

/// Replaces `self`, also where a format string captures it, by another name. Items within have a `self` of their own.
pub(crate) fn without_self(tokens: TokenStream, name: &str) -> TokenStream {
    let mut rewritten = TokenStream::new();
    let mut tokens = tokens.into_iter().peekable();
    let mut before = [const { None::<String> }; 2];
    while let Some(token) = tokens.next() {
        let seen = token.to_string();
        let next = tokens.peek();
        match token {
            TokenTree::Ident(ident) if ident == "self" => {
                let is_path =
                    next.is_some_and(|next| matches!(next, TokenTree::Punct(punct) if punct.as_char() == ':'));
                let is_fragment = before[1].as_deref() == Some("$");
                let ident = if is_path || is_fragment { ident } else { Ident::new(name, ident.span()) };
                rewritten.extend([TokenTree::from(ident)]);
            }
            TokenTree::Ident(ident) => {
                let next_is_name = matches!(next, Some(TokenTree::Ident(_)));
                let is_end: Option<fn(&TokenTree) -> bool> = match seen.as_str() {
                    "use" => Some(is_semicolon),
                    "impl" => Some(is_braces),
                    "fn" | "trait" if next_is_name => Some(is_braces),
                    _ => None,
                };
                rewritten.extend([TokenTree::from(ident)]);
                if let Some(is_end) = is_end {
                    for token in tokens.by_ref() {
                        let ends = is_end(&token);
                        rewritten.extend([token]);
                        if ends {
                            break;
                        }
                    }
                }
            }
            TokenTree::Group(group) => {
                let inner = match &before {
                    [Some(called), Some(bang)] if bang == "!" => arguments_without_self(group.stream(), called, name),
                    _ => without_self(group.stream(), name),
                };
                rewritten.extend([regroup(&group, inner)]);
            }
            other => rewritten.extend([other]),
        }
        before = [before[1].take(), Some(seen)];
    }
    rewritten
}

/// The same for the arguments of a macro.
fn arguments_without_self(tokens: TokenStream, called: &str, name: &str) -> TokenStream {
    if called == "stringify" {
        return tokens;
    }
    let tokens = match first_format(called) {
        Some(first) => format_without_self(tokens, first, name),
        None => tokens,
    };
    without_self(tokens, name)
}

/// Which argument of a macro is a format string at the earliest, if one is. A macro that is not known here may mean something
/// else by braces.
fn first_format(called: &str) -> Option<usize> {
    match called {
        "format" | "format_args" | "print" | "println" | "eprint" | "eprintln" | "panic" | "todo" | "unimplemented"
        | "unreachable" | "write" | "writeln" | "anyhow" | "bail" | "eyre" | "trace" | "debug" | "info" | "warn"
        | "error" | "log" | "event" | "span" | "trace_span" | "debug_span" | "info_span" | "warn_span"
        | "error_span" => Some(0),
        "assert" | "debug_assert" | "ensure" => Some(1),
        "assert_eq" | "assert_ne" | "debug_assert_eq" | "debug_assert_ne" => Some(2),
        _ => None,
    }
}

/// The same for the format string among a macro's arguments: the first, from the argument `first` on, that is a string and
/// nothing else.
fn format_without_self(tokens: TokenStream, first: usize, name: &str) -> TokenStream {
    let mut arguments = vec![Vec::new()];
    for token in tokens {
        let is_comma = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',');
        if let Some(argument) = arguments.last_mut() {
            argument.push(token);
        }
        if is_comma {
            arguments.push(Vec::new());
        }
    }
    let format = arguments.iter_mut().skip(first).find_map(|argument| match &mut argument[..] {
        [TokenTree::Literal(literal), rest @ ..] if rest.len() < 2 && is_string(&literal.to_string()) => Some(literal),
        _ => None,
    });
    if let Some(format) = format
        && let Some(rewritten) = capture(format, name)
    {
        *format = rewritten;
    }
    arguments.into_iter().flatten().collect()
}

fn is_semicolon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';')
}

fn is_braces(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

fn is_string(literal: &str) -> bool {
    literal.starts_with('"') || literal.starts_with('r')
}

/// A format string that captures `name` where this one captures `self`, if it does.
fn capture(literal: &Literal, name: &str) -> Option<Literal> {
    let text = literal.to_string();
    let mut rewritten = String::new();
    let mut rest = text.as_str();
    while let Some(brace) = rest.find('{') {
        let (before, after) = rest.split_at(brace + 1);
        rewritten.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('{') {
            rewritten.push('{'); // a brace as such
            rest = after;
        } else if let Some(after) = rest.strip_prefix("self").filter(|after| after.starts_with(['}', ':'])) {
            rewritten.push_str(name);
            rest = after;
        }
    }
    rewritten.push_str(rest);
    if rewritten == text {
        return None;
    }
    let mut rewritten: Literal = rewritten.parse().ok()?;
    rewritten.set_span(literal.span());
    Some(rewritten)
}

/// The same delimiters round other tokens.
fn regroup(group: &Group, tokens: TokenStream) -> TokenTree {
    let mut new = Group::new(group.delimiter(), tokens);
    new.set_span(group.span());
    new.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn self_is_replaced_where_it_is_the_functions_own() {
        for (text, expected) in [
            ("self . id", "this . id"),
            ("f (& self , [self . x])", "f (& this , [this . x])"),
            ("Self :: f (self)", "Self :: f (this)"),
            ("format ! (\"{self:?} {{self}} {selfish}\")", "format ! (\"{this:?} {{self}} {selfish}\")"),
            ("format ! (r#\"{self}\"#)", "format ! (r#\"{this}\"#)"),
            ("f (\"{self}\")", "f (\"{self}\")"),
            ("println ! (\"{}\" , \"{self}\")", "println ! (\"{}\" , \"{self}\")"),
            ("write ! (f , \"{self}\")", "write ! (f , \"{this}\")"),
            ("assert_eq ! (a , \"b\" , \"{self}\")", "assert_eq ! (a , \"b\" , \"{this}\")"),
            ("error ! (target : \"{self}\" , \"{self}\")", "error ! (target : \"{self}\" , \"{this}\")"),
            ("info ! (\"a\" = 1 , \"{self}\")", "info ! (\"a\" = 1 , \"{this}\")"),
            ("assert ! (\"x\" , \"{self}\")", "assert ! (\"x\" , \"{this}\")"),
            ("concat ! (\"{self}\")", "concat ! (\"{self}\")"),
            ("matches ! (self , \"{self}\")", "matches ! (this , \"{self}\")"),
            ("stringify ! (self . id)", "stringify ! (self . id)"),
            (
                "macro_rules ! m { ($self : ident) => { $self . id } }",
                "macro_rules ! m { ($self : ident) => { $self . id } }",
            ),
            ("vec ! [format ! (\"{self}\")]", "vec ! [format ! (\"{this}\")]"),
            ("fn f (self) -> u8 { self . 0 } self", "fn f (self) -> u8 { self . 0 } this"),
            ("impl A for B { fn f (& self) { self } } self", "impl A for B { fn f (& self) { self } } this"),
            ("let f : fn (u8) -> u8 = { self . f } ;", "let f : fn (u8) -> u8 = { this . f } ;"),
            (
                "{ use self :: x ; use a :: { self } ; self :: f (self) }",
                "{ use self :: x ; use a :: { self } ; self :: f (this) }",
            ),
        ] {
            let tokens: TokenStream = text.parse().expect("tokens");
            let expected: TokenStream = expected.parse().expect("tokens");
            assert_eq!(without_self(tokens, "this").to_string(), expected.to_string(), "{text}");
        }
    }
}
