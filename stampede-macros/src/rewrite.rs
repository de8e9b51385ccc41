//! Changes to the user's tokens, where they cannot stay as they are.

use proc_macro2::{Delimiter, Group, Ident, Literal, TokenStream, TokenTree};
use syn::ext::IdentExt;

/// Lets names mean what they mean in the signature. What was read from a string means what it means where the string was
/// written, and that is another place if a macro wrote the string and was given the names.
pub(crate) fn as_in_signature(tokens: TokenStream, names: &[&Ident]) -> TokenStream {
    let token = |token| match token {
        TokenTree::Group(group) => regroup(&group, as_in_signature(group.stream(), names)),
        TokenTree::Ident(mut ident) => {
            if let Some(name) = names.iter().find(|name| name.unraw() == ident.unraw()) {
                ident.set_span(name.span().located_at(ident.span()));
            }
            ident.into()
        }
        other => other,
    };
    tokens.into_iter().map(token).collect()
}

/// Replaces `self`, also where a format string captures it, by another name. Items within have a `self` of their own.
pub(crate) fn without_self(tokens: TokenStream, name: &str) -> TokenStream {
    let mut rewritten = TokenStream::new();
    let mut tokens = tokens.into_iter().peekable();
    let mut before = [const { None::<String> }; 2];
    while let Some(token) = tokens.next() {
        let seen = token.to_string();
        match token {
            TokenTree::Ident(ident) if ident == "self" => {
                let is_path = matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
                let ident = if is_path { ident } else { Ident::new(name, ident.span()) };
                rewritten.extend([TokenTree::from(ident)]);
            }
            TokenTree::Ident(ident) => {
                let next_is_name = matches!(tokens.peek(), Some(TokenTree::Ident(_)));
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
                    [Some(makro), Some(bang)] if bang == "!" => {
                        format_without_self(group.stream(), makro.as_str(), name)
                    }
                    _ => group.stream(),
                };
                rewritten.extend([regroup(&group, without_self(inner, name))]);
            }
            other => rewritten.extend([other]),
        }
        before = [before[1].take(), Some(seen)];
    }
    rewritten
}

fn is_semicolon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';')
}

fn is_braces(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

/// The same for the format string among a macro's arguments: the first that is a string, but for macros that compare two
/// values first.
fn format_without_self(tokens: TokenStream, makro: &str, name: &str) -> TokenStream {
    let first = if makro.ends_with("assert_eq") || makro.ends_with("assert_ne") { 2 } else { 0 };
    let mut argument = 0;
    let mut starts = true;
    let mut done = false;
    let token = |token| {
        let is_start = std::mem::replace(&mut starts, false);
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => {
                argument += 1;
                starts = true;
                punct.into()
            }
            TokenTree::Literal(literal)
                if is_start && !done && argument >= first && is_string(&literal.to_string()) =>
            {
                done = true;
                capture(&literal, name).unwrap_or(literal).into()
            }
            other => other,
        }
    };
    tokens.into_iter().map(token).collect()
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
