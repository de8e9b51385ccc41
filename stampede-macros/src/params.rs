//! The arguments of an annotated function.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident};
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::spanned::Spanned;
use syn::{FnArg, Pat, Path, Type};

use crate::diagnostics::Faults;
use crate::function::argument;
use crate::spans::at;
use crate::tokens::{borrows, mentions};

/// An argument other than the receiver.
pub(crate) struct Param {
    /// Its name, or one made up where it has a pattern.
    pub(crate) name: Ident,
    /// As in the signature.
    pub(crate) pat: Pat,
    pub(crate) ty: Type,
    /// The pattern that takes it apart, if there is one: in the signature, or in the body that `async_trait` made.
    pub(crate) parts: Option<Pat>,
    /// The names that the pattern binds.
    pub(crate) bound: Vec<Ident>,
}

/// Said of an argument that borrows in a way that is not known.
pub(crate) const NO_COPY: &str = "the run outlives its caller and takes a copy of each argument, and this one borrows in a \
    way that cannot be copied: take what owns its data, or write `inline` to run in the caller's task";

/// Which way to copy an argument; what is spelled as good for ever need not be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    ByType,
    AsReference,
    AsValue,
}

impl Param {
    /// Reads an argument of a signature; `body` is told if `async_trait` has rewritten it.
    pub(crate) fn read(index: usize, input: &FnArg, body: Option<&TokenStream>) -> Option<Self> {
        let FnArg::Typed(arg) = input else { return None };
        let pat = (*arg.pat).clone();
        let ty = bare(&arg.ty).clone();
        let (name, parts) = match &pat {
            Pat::Ident(ident) if ident.by_ref.is_none() && ident.subpat.is_none() => {
                let is_made_up = ident.ident.to_string().starts_with("__arg"); // as `async_trait` does
                let taken_apart = body.filter(|_| is_made_up).and_then(|body| taken_apart(body, &ident.ident));
                (ident.ident.clone(), taken_apart)
            }
            pat => {
                let span = at(pat.span()).resolved_at(Span::mixed_site());
                (format_ident!("__stampede_argument_{index}", span = span), Some(pat.clone()))
            }
        };
        let mut bound = Vec::new();
        if let Some(parts) = &parts {
            names(parts, &mut bound);
        }
        Some(Self { name, pat, ty, parts, bound })
    }

    /// Whether its name is the user's.
    pub(crate) fn is_named(&self) -> bool {
        self.parts.is_none() && !self.name.to_string().starts_with("__")
    }

    /// Whether it bears this name.
    pub(crate) fn is(&self, name: &Ident) -> bool {
        self.name.unraw() == name.unraw()
    }

    /// Whether this is a name that it binds, by its spelling.
    pub(crate) fn binds(&self, path: &Path) -> bool {
        path.is_ident(&self.name) || self.bound.iter().any(|name| path.is_ident(name))
    }

    /// Whether its type has a part that has no name.
    pub(crate) fn is_unnamed(&self) -> bool {
        mentions(&self.ty.to_token_stream(), "impl")
    }

    /// How a run that outlives the caller comes by it.
    pub(crate) fn copied(&self) -> Copied {
        let spelled = self.ty.to_token_stream();
        if !mentions(&spelled, "static") {
            return Copied::ByType;
        }
        match &self.ty {
            _ if !borrows(&spelled) => Copied::AsValue,
            Type::Reference(ty) if !borrows(&ty.elem.to_token_stream()) => Copied::AsReference,
            _ => Copied::ByType,
        }
    }

    /// A run of its own cannot take along what borrows in a way that is not known how to copy.
    pub(crate) fn check_borrow(&self, faults: &mut Faults) {
        let within = match &self.ty {
            Type::Reference(ty) => match bare(&ty.elem) {
                Type::Slice(slice) => referent(&slice.elem),
                elem => elem,
            },
            ty => match ["Option", "Vec"].into_iter().find_map(|name| argument(ty, name)) {
                Some(inner) => referent(inner),
                None => argument(ty, "Cow").unwrap_or(ty),
            },
        };
        if self.copied() == Copied::ByType && borrows(&within.to_token_stream()) {
            faults.at(&self.ty, NO_COPY);
        }
    }

    /// What makes two equal values two keys.
    pub(crate) fn unordered(&self) -> Option<&'static str> {
        fn find(tokens: TokenStream) -> Option<&'static str> {
            tokens.into_iter().find_map(|token| match token {
                TokenTree::Ident(ident) => ["HashMap", "HashSet"].into_iter().find(|name| ident == name),
                TokenTree::Group(group) => find(group.stream()),
                _ => None,
            })
        }
        find(self.ty.to_token_stream())
    }
}

/// A type without the invisible brackets that come with what a macro was given.
pub(crate) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(ty) => bare(&ty.elem),
        Type::Paren(ty) => bare(&ty.elem),
        ty => ty,
    }
}

/// What a reference refers to.
fn referent(ty: &Type) -> &Type {
    match bare(ty) {
        Type::Reference(ty) => bare(&ty.elem),
        ty => ty,
    }
}

/// The pattern of `let pattern = name;` or `let pattern = { let name = name; name };`, as `async_trait` writes it.
fn taken_apart(body: &TokenStream, name: &Ident) -> Option<Pat> {
    let is_name = |token: &TokenTree| matches!(token, TokenTree::Ident(ident) if ident == name);
    let tokens: Vec<_> = body.clone().into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let is_name = match token {
            TokenTree::Ident(_) => is_name(token),
            TokenTree::Group(group) => group.stream().into_iter().nth(1).is_some_and(|second| is_name(&second)),
            _ => false,
        };
        let is_let = |token: &TokenTree| matches!(token, TokenTree::Ident(word) if word == "let");
        if is_name
            && at > 2
            && matches!(&tokens[at - 1], TokenTree::Punct(equals) if equals.as_char() == '=')
            && let Some(start) = tokens[..at].iter().rposition(is_let)
            && let Ok(pat) = Pat::parse_single.parse2(tokens[start + 1..at - 1].iter().cloned().collect())
            && !matches!(pat, Pat::Ident(_))
        {
            return Some(pat);
        }
        if let TokenTree::Group(group) = token
            && let Some(pat) = taken_apart(&group.stream(), name)
        {
            return Some(pat);
        }
    }
    None
}

/// The names that a pattern binds.
fn names(pat: &Pat, found: &mut Vec<Ident>) {
    match pat {
        Pat::Ident(pat) => {
            found.push(pat.ident.clone());
            if let Some((_, pat)) = &pat.subpat {
                names(pat, found);
            }
        }
        Pat::Tuple(pat) => pat.elems.iter().for_each(|pat| names(pat, found)),
        Pat::TupleStruct(pat) => pat.elems.iter().for_each(|pat| names(pat, found)),
        Pat::Struct(pat) => pat.fields.iter().for_each(|field| names(&field.pat, found)),
        Pat::Slice(pat) => pat.elems.iter().for_each(|pat| names(pat, found)),
        Pat::Reference(pat) => names(&pat.pat, found),
        Pat::Or(pat) => pat.cases.iter().take(1).for_each(|pat| names(pat, found)),
        Pat::Paren(pat) => names(&pat.pat, found),
        _ => {}
    }
}
