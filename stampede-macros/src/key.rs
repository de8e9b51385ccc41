//! What makes the key.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Expr, GenericParam, Signature};

use crate::args::Args;
use crate::diagnostics::Faults;
use crate::params::Param;
use crate::rewrite::as_in_signature;
use crate::tokens::mentions;

/// The values that make the key: those that the attribute names, or every argument that it does not skip.
pub(crate) fn key(args: &Args, params: &[Param], sig: &Signature, faults: &mut Faults) -> Vec<Expr> {
    check_skip(args, params, sig, faults);
    let key = match &args.key {
        Some(said) => {
            if said.value.is_empty() {
                faults.at(
                    &said.word,
                    "an empty key: name what the result depends on, or `skip(…)` every argument if on none",
                );
            }
            named(&said.value, params, sig, faults)
        }
        None if args.is_unread(&["key", "skip"]) => Vec::new(),
        None => all(args, params, faults),
    };
    check_self(args, sig, &key, faults);
    key
}

/// The parts that a key names.
fn named(parts: &[Expr], params: &[Param], sig: &Signature, faults: &mut Faults) -> Vec<Expr> {
    let names = names(params, sig);
    let types = sig.generics.params.iter().filter_map(|param| match param {
        GenericParam::Type(param) => Some(&param.ident),
        GenericParam::Const(param) => Some(&param.ident),
        GenericParam::Lifetime(_) => None,
    });
    let types: Vec<_> = types.map(ToString::to_string).collect();
    for part in parts {
        let tokens = part.to_token_stream();
        let is_mentioned = |name: &String| mentions(&tokens, name);
        if !names.iter().map(ToString::to_string).any(|name| is_mentioned(&name))
            && !types.iter().any(is_mentioned)
            && !mentions(&tokens, "Self")
        {
            faults.at(part, format!("this part of the key names no argument of the function: {}", choice(&names)));
        }
        if let Expr::Path(path) = part
            && let Some(param) = params.iter().find(|param| path.path.get_ident().is_some_and(|name| param.is(name)))
            && let Some(unordered) = param.unordered()
        {
            faults.at(part, unordered_key(unordered));
        }
    }
    parts.iter().map(|part| as_in_signature(part, &names)).collect()
}

/// Every argument but the skipped ones.
fn all(args: &Args, params: &[Param], faults: &mut Faults) -> Vec<Expr> {
    let skipped = args.skip.as_ref().map_or(&[][..], |said| &said.value);
    let kept = params.iter().filter(|param| !skipped.iter().any(|name| param.is(name)));
    let part = |param: &Param| {
        if let Some(unordered) = param.unordered() {
            faults.at(&param.ty, unordered_key(unordered));
        }
        let name = &param.name;
        syn::parse_quote!(#name)
    };
    kept.map(part).collect()
}

fn check_skip(args: &Args, params: &[Param], sig: &Signature, faults: &mut Faults) {
    let Some(skip) = &args.skip else { return };
    for name in &skip.value {
        if params.iter().any(|param| param.bound.contains(name)) {
            faults.at(name, format!("`{name}` is a part of an argument: name the other parts by `key = \"…\"`"));
        } else if !(params.iter().any(|param| param.is(name)) || name == "self" && sig.receiver().is_some()) {
            faults.at(name, format!("`{name}` is no argument of this function: {}", choice(&names(params, sig))));
        }
    }
    let Some(key) = &args.key else { return };
    if skip.value.iter().any(|name| name != "self") {
        faults.at(
            &skip.word,
            "`skip` leaves arguments out of the default key, and `key` names the key: write one of them",
        );
    } else if key.value.iter().any(|part| mentions(&part.to_token_stream(), "self")) {
        faults
            .at(&skip.word, "`skip(self)` says that all objects share, and `key` tells them apart: write one of them");
    }
}

/// A method whose key leaves `self` out, on a store that is not its own: two objects would share values.
fn check_self(args: &Args, sig: &Signature, key: &[Expr], faults: &mut Faults) {
    let Some(receiver) = sig.receiver() else { return };
    let skipped = args.skip.as_ref().is_some_and(|said| said.value.iter().any(|name| name == "self"));
    let in_key = key.iter().any(|part| mentions(&part.to_token_stream(), "self"));
    let in_store = args.store.as_ref().is_some_and(|said| mentions(&said.value.to_token_stream(), "self"));
    if !skipped && !in_key && !in_store && !args.is_unread(&["key", "skip", "store"]) {
        faults.at(
            &receiver.self_token,
            "the key leaves out `self`, and the store is not its own: two objects would share values. Write \
             `key = \"self.id, …\"` with what tells them apart, `store = self.…`, or `skip(self)` if they may share",
        );
    }
}

/// What a key can name: arguments, parts of arguments, `self`.
fn names(params: &[Param], sig: &Signature) -> Vec<Ident> {
    let mut names = Vec::new();
    for param in params {
        if param.is_named() {
            names.push(param.name.clone());
        }
        names.extend(param.bound.iter().cloned());
    }
    names.extend(sig.receiver().map(|receiver| Ident::new("self", receiver.self_token.span)));
    names
}

fn choice(names: &[Ident]) -> String {
    let names: Vec<_> = names.iter().map(|name| name.unraw().to_string()).collect();
    if names.is_empty() { "it has none".to_owned() } else { format!("name one of {}", names.join(", ")) }
}

fn unordered_key(collection: &str) -> String {
    format!(
        "a `{collection}` in a key: two that are equal may be walked in different orders, and make two keys: take a \
         `BTree{}`, or name what is sorted by `key = \"…\"`",
        &collection["Hash".len()..]
    )
}
