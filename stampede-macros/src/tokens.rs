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
    let mut tokens = ty.clone().into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '&' => match tokens.peek() {
                Some(TokenTree::Punct(punct)) if punct.as_char() == '\'' => {} // it has a name
                _ => return true,
            },
            TokenTree::Punct(punct) if punct.as_char() == '\'' => match tokens.next() {
                Some(TokenTree::Ident(name)) if name == "static" => {}
                _ => return true,
            },
            // The arguments of a function are borrowed when it is called. So are lifetimes of its own.
            TokenTree::Ident(ident) if ["fn", "Fn", "FnMut", "FnOnce", "AsyncFn"].iter().any(|name| ident == name) => {
                tokens.next_if(|next| matches!(next, TokenTree::Group(_)));
            }
            TokenTree::Ident(ident) if ident == "for" => {
                tokens.by_ref().find(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '>'));
            }
            TokenTree::Group(group) if borrows(&group.stream()) => return true,
            _ => {}
        }
    }
    false
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
        ] {
            assert_eq!(borrows(&text.parse().expect("tokens")), found, "{text}");
        }
    }
}
