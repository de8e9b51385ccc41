//! Questions to tokens.

use proc_macro2::{TokenStream, TokenTree};

/// Whether a variable occurs in these tokens: the identifier, other than as a field or method of something, or captured by
/// a format string.
pub(crate) fn mentions(tokens: &TokenStream, name: &str) -> bool {
    let mut dots = 0;
    tokens.clone().into_iter().any(|token| {
        let after_dot = dots == 1; // two make a range
        dots = match &token {
            TokenTree::Punct(punct) if punct.as_char() == '.' => dots + 1,
            _ => 0,
        };
        match token {
            TokenTree::Ident(ident) => ident == name && !after_dot,
            TokenTree::Group(group) => mentions(&group.stream(), name),
            TokenTree::Literal(literal) => captures(&literal.to_string(), name),
            TokenTree::Punct(_) => false,
        }
    })
}

/// Whether a literal is a string that, as a format string, captures this variable: `"{name}"`, `"{name:?}"`.
fn captures(literal: &str, name: &str) -> bool {
    literal.ends_with(['"', '#'])
        && literal.split('{').skip(1).any(|after| {
            let after = after.strip_prefix(name.trim_start_matches("r#"));
            after.is_some_and(|rest| rest.starts_with(['}', ':']))
        })
}

/// Whether a type, as it is spelled, borrows for less than the program's time.
pub(crate) fn borrows(ty: &TokenStream) -> bool {
    references(ty).any(|reference| !reference.is_static)
}

/// Whether a type, as it is spelled, borrows to change something.
pub(crate) fn borrows_mut(ty: &TokenStream) -> bool {
    references(ty).any(|reference| reference.is_mut)
}

/// A `&`, or a lifetime among a type's arguments.
struct Reference {
    is_static: bool,
    is_mut: bool,
}

/// What a type refers to, but for what a function that it names would: that is borrowed when it is called.
fn references(ty: &TokenStream) -> impl Iterator<Item = Reference> {
    const FUNCTIONS: [&str; 7] = ["fn", "Fn", "FnMut", "FnOnce", "AsyncFn", "AsyncFnMut", "AsyncFnOnce"];

    let mut tokens = ty.clone().into_iter().peekable();
    let mut found = Vec::new();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if ['&', '\''].contains(&punct.as_char()) => {
                let lifetime =
                    if punct.as_char() == '\'' { true } else { tokens.next_if(|next| is_punct(next, '\'')).is_some() };
                let is_static = lifetime && tokens.next().is_some_and(|name| is_ident(&name, "static"));
                let is_mut = tokens.next_if(|next| is_ident(next, "mut")).is_some();
                found.push(Reference { is_static, is_mut });
            }
            TokenTree::Ident(ident) if FUNCTIONS.iter().any(|name| ident == name) => {
                tokens.next_if(|next| matches!(next, TokenTree::Group(_)));
                // What it returns, up to the next bound or argument of the type that it is in.
                if tokens.next_if(|next| is_punct(next, '-')).is_some() {
                    tokens.next();
                    let mut depth = 0;
                    while let Some(next) = tokens.peek() {
                        if is_punct(next, '<') {
                            depth += 1;
                        } else if depth == 0 && [',', '+', '>'].into_iter().any(|end| is_punct(next, end)) {
                            break;
                        } else if is_punct(next, '>') {
                            depth -= 1;
                        }
                        tokens.next();
                    }
                }
            }
            TokenTree::Ident(ident) if ident == "for" => {
                tokens.by_ref().find(|token| is_punct(token, '>'));
            }
            TokenTree::Group(group) => found.extend(references(&group.stream()).collect::<Vec<_>>()),
            _ => {}
        }
    }
    found.into_iter()
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_told_from_fields() {
        for (text, found) in [
            ("id", true),
            ("self.id", false),
            ("self.id(id)", true),
            ("(a, [id.len()])", true),
            ("0..id", true),
            ("identity", false),
            ("format!(\"{id}\")", true),
            ("format!(\"{a} {id:?}\")", true),
            ("format!(\"{identity}\", a)", false),
            ("\"id\"", false),
        ] {
            let tokens = text.parse().expect("tokens");
            assert_eq!(mentions(&tokens, "id"), found, "{text}");
        }
    }

    #[test]
    fn borrowing_types_are_told_by_their_spelling() {
        for (text, found) in [
            ("u8", false),
            ("&str", true),
            ("&'a str", true),
            ("&'static str", false),
            ("[&'static str]", false),
            ("Row<'a>", true),
            ("Row<'_, u8>", true),
            ("Row<'static>", false),
            ("(u8, &u8)", true),
            ("fn(&u8) -> u8", false),
            ("impl Fn(&u8) -> u8 + Clone", false),
            ("Box<dyn for<'a> Fn(&'a u8)>", false),
            ("Box<dyn Fn(u8) + 'a>", true),
            ("fn(&str) -> &str", false),
            ("Vec<impl Fn(&str) -> Option<&str> + Send + 'a>", true),
            ("impl AsyncFnMut(&str) -> Option<&str>, &u8", true),
            ("Pin<&mut Self>", true),
        ] {
            assert_eq!(borrows(&text.parse().expect("tokens")), found, "{text}");
        }
    }

    #[test]
    fn exclusive_references_are_told_from_shared_ones() {
        for (text, found) in [
            ("&mut u8", true),
            ("&'a mut u8", true),
            ("&'static mut u8", true),
            ("Option<&mut u8>", true),
            ("&u8", false),
            ("fn(&mut u8) -> &mut u8", false),
        ] {
            assert_eq!(borrows_mut(&text.parse().expect("tokens")), found, "{text}");
        }
    }
}
