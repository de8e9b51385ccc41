//! What an annotated function comes to: everything that expansion needs, checked.

use std::sync::atomic::{AtomicUsize, Ordering};

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, FnArg, GenericParam, Pat, Receiver, ReceiverKind, ReturnType, Signature, Type, Visibility};

use crate::args::{Args, EntryName, Said, as_string};
use crate::diagnostics::Faults;
use crate::duration;
use crate::function::Function;
use crate::policies;

/// A function to be coalesced.
pub(crate) struct Model {
    /// The path to the runtime's support module.
    pub(crate) support: TokenStream,
    /// The path to what users see.
    pub(crate) krate: TokenStream,
    pub(crate) attrs: Vec<Attribute>,
    /// Those of the attributes that also concern what is generated beside the function.
    pub(crate) lint_attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    /// As the user wrote it.
    pub(crate) sig: Signature,
    pub(crate) body: TokenStream,
    /// The arguments without the receiver, each with a plain name.
    pub(crate) params: Vec<Param>,
    pub(crate) receiver: Option<Receiver>,
    /// Whether it stands in an impl block, as far as can be seen: it says `self` or `Self`.
    pub(crate) associated: bool,
    pub(crate) output: Type,
    /// The values that make the key.
    pub(crate) key: Vec<Expr>,
    pub(crate) store: Option<Expr>,
    /// The options that were given, each as the call of a setter.
    pub(crate) options: Vec<TokenStream>,
    pub(crate) share_error: Option<Expr>,
    /// What the error has to be able to say: functions of the support module that see to it, with the words that ask for it.
    pub(crate) own_errors: Vec<(&'static str, Ident)>,
    pub(crate) inline: bool,
    /// The cache's name, if it was given.
    pub(crate) name: Option<String>,
    pub(crate) version: String,
    /// What tells this function from every other of the crate, also of one name in one place (as macros write them), and
    /// of other versions of the crate.
    pub(crate) number: String,
    pub(crate) companion: Option<Companion>,
}

/// An argument.
pub(crate) struct Param {
    /// Its name, or one made up where it has a pattern.
    pub(crate) name: Ident,
    /// Whether the name is the user's.
    pub(crate) named: bool,
    pub(crate) ty: Type,
    pub(crate) attrs: Vec<Attribute>,
}

/// The function that gives the entry.
pub(crate) struct Companion {
    pub(crate) name: Ident,
    /// Which of the arguments it takes.
    pub(crate) params: Vec<bool>,
    pub(crate) receiver: bool,
}

impl Model {
    /// Checks the function and its attribute as a whole.
    pub(crate) fn new(args: Args, function: Function, faults: &mut Faults) -> Self {
        let Function { attrs, vis, sig, body } = function;
        check_signature(&sig, faults);
        check_contradictions(&args, faults);
        policies::check(&args, faults);

        let receiver = sig.receiver().cloned();
        let params: Vec<Param> = sig.inputs.iter().enumerate().filter_map(param).collect();
        let key = key(&args, &params, receiver.as_ref(), faults);
        check_self(&args, &sig, &key, faults);
        let store = args.store.as_ref().map(|said| said.value.clone());

        let mut options = Vec::new();
        let durations = [
            &args.ttl,
            &args.stale_while_revalidate,
            &args.stale_if_error,
            &args.retry_after,
            &args.timeout,
            &args.soft_timeout,
            &args.run_limit,
            &args.error_ttl,
        ];
        for said in durations.into_iter().flatten() {
            if let Some(value) = duration(&said.value, faults) {
                let setter = &said.word;
                options.push(quote_spanned!(said.value.span()=> .#setter(#value)));
            }
        }
        options.extend(policies::options(&args, faults));
        for Said { word, value } in [&args.cache_if, &args.weight].into_iter().flatten() {
            options.push(quote_spanned!(value.span()=> .#word(#value)));
        }

        let mut sources: Vec<TokenStream> = key.iter().map(ToTokens::to_token_stream).collect();
        sources.extend(store.iter().map(ToTokens::to_token_stream));
        sources.extend(options.iter().cloned());
        let companion = companion(args.entry.as_ref(), &sig, &params, receiver.as_ref(), &sources);

        let own_errors = policies::own_errors(&args);
        let krate = args.krate.map_or_else(|| quote!(::stampede), |said| said.value.into_token_stream());
        let output = match &sig.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        let associated = receiver.is_some() || mentions(&sig.to_token_stream(), "Self") || mentions(&body, "Self");
        Self {
            support: quote!(#krate::__private),
            krate,
            lint_attrs: attrs.iter().filter(|attr| concerns_all(attr)).cloned().collect(),
            attrs,
            vis,
            body,
            params,
            receiver,
            associated,
            output,
            key,
            store,
            options,
            own_errors,
            share_error: args.share_error.map(|said| said.value),
            inline: args.inline.is_some(),
            name: args.name.map(|said| said.value.value()),
            version: args.version.map_or_else(String::new, |said| said.value.base10_digits().to_owned()),
            number: number(),
            companion,
            sig,
        }
    }

    /// The arguments that the attribute mentions, as far as the body knows them by the same name.
    pub(crate) fn mentioned_params(&self) -> impl Iterator<Item = &Param> {
        let said = self.key.iter().chain(&self.store).map(ToTokens::to_token_stream);
        let said: TokenStream = said.chain(self.options.iter().cloned()).collect();
        self.params.iter().filter(move |param| param.named && mentions(&said, &param.name.to_string()))
    }

    /// The generic types.
    pub(crate) fn type_params(&self) -> impl Iterator<Item = &Ident> {
        self.sig.generics.params.iter().filter_map(|param| match param {
            GenericParam::Type(param) => Some(&param.ident),
            _ => None,
        })
    }

    /// The generic constants.
    pub(crate) fn const_params(&self) -> impl Iterator<Item = &Ident> {
        self.sig.generics.params.iter().filter_map(|param| match param {
            GenericParam::Const(param) => Some(&param.ident),
            _ => None,
        })
    }
}

/// The crate's version, and how many functions have been annotated so far.
fn number() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    format!("{version} {}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn check_signature(sig: &Signature, faults: &mut Faults) {
    if sig.asyncness.is_none() {
        faults.at(&sig.fn_token, "a function that is not `async` cannot be coalesced: write `async fn`");
    }
    for input in &sig.inputs {
        match input {
            FnArg::Receiver(receiver) if is_mut_ref(receiver) => {
                faults.at(
                    receiver,
                    "`&mut self` cannot be shared by the calls of one run: take `&self` or `self: Arc<Self>`",
                );
            }
            FnArg::Typed(arg) if matches!(&*arg.ty, Type::Reference(ty) if ty.mutability.is_some()) => {
                faults.at(
                    &arg.ty,
                    "a `&mut` argument cannot be shared by the calls of one run: take a value or `&`, and return what changes",
                );
            }
            _ => {}
        }
    }
    if let ReturnType::Type(_, ty) = &sig.output
        && let Type::ImplTrait(ty) = &**ty
    {
        faults.at(ty, "a value to be stored needs a type with a name: write the type that is returned");
    }
}

fn is_mut_ref(receiver: &Receiver) -> bool {
    matches!(receiver.kind, ReceiverKind::Reference(_, _, Some(_)))
}

fn check_contradictions(args: &Args, faults: &mut Faults) {
    if let (Some(key), Some(skip)) = (&args.key, &args.skip)
        && skip.value.iter().any(|name| name != "self")
    {
        let said = &key.word;
        faults.at(
            &skip.word,
            format!("`skip` leaves arguments out of the default key, and `{said}` names the key: write one of them"),
        );
    }
}

/// A method whose key leaves `self` out, on a store that is not its own: two objects would share values.
fn check_self(args: &Args, sig: &Signature, key: &[Expr], faults: &mut Faults) {
    let Some(receiver) = sig.receiver() else {
        return;
    };
    let skipped = args.skip.as_ref().is_some_and(|said| said.value.iter().any(|name| name == "self"));
    let in_key = key.iter().any(|part| mentions(&part.to_token_stream(), "self"));
    let in_store = args.store.as_ref().is_some_and(|said| mentions(&said.value.to_token_stream(), "self"));
    if !skipped && !in_key && !in_store {
        faults.at(
            &receiver.self_token,
            "the key leaves out `self`, and the store is not its own: two objects would share values. Write \
             `key = \"self.id, …\"` with what tells them apart, `store = self.…`, or `skip(self)` if they may share",
        );
    }
}

fn param((index, input): (usize, &FnArg)) -> Option<Param> {
    let FnArg::Typed(arg) = input else { return None };
    let attrs = arg.attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect();
    let ty = (*arg.ty).clone();
    match &*arg.pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => {
            Some(Param { name: pat.ident.clone(), named: true, ty, attrs })
        }
        pat => {
            let span = pat.span().resolved_at(Span::mixed_site());
            Some(Param { name: format_ident!("__stampede_argument_{index}", span = span), named: false, ty, attrs })
        }
    }
}

fn key(args: &Args, params: &[Param], receiver: Option<&Receiver>, faults: &mut Faults) -> Vec<Expr> {
    let is_param = |name: &Ident| params.iter().any(|param| param.name.unraw() == name.unraw());
    let arguments = || {
        let mut names: Vec<String> = params.iter().map(|param| param.name.unraw().to_string()).collect();
        names.extend(receiver.map(|_| "self".to_owned()));
        names.join(", ")
    };
    let skipped = args.skip.as_ref().map_or(&[][..], |said| &said.value);
    for name in skipped {
        if !(is_param(name) || name == "self" && receiver.is_some()) {
            faults.at(name, format!("`{name}` is no argument of this function: its arguments are {}", arguments()));
        }
    }
    let Some(said) = &args.key else {
        let kept = params.iter().filter(|param| !skipped.iter().any(|name| name.unraw() == param.name.unraw()));
        return kept.map(|Param { name, .. }| syn::parse_quote!(#name)).collect();
    };
    if said.value.is_empty() {
        faults.at(&said.word, "an empty key: name what the result depends on, or `skip(…)` every argument if on none");
    }
    for part in &said.value {
        let tokens = part.to_token_stream();
        let names_one = params.iter().any(|param| mentions(&tokens, &param.name.to_string()))
            || receiver.is_some() && mentions(&tokens, "self");
        if !names_one {
            faults.at(part, format!("this part of the key names no argument: the arguments are {}", arguments()));
        }
    }
    said.value.clone()
}

pub(crate) fn duration(expr: &Expr, faults: &mut Faults) -> Option<TokenStream> {
    let Some(text) = as_string(expr) else {
        return Some(expr.to_token_stream());
    };
    match duration::parse(&text.value()) {
        Ok(duration) => {
            let (secs, nanos) = (duration.as_secs(), duration.subsec_nanos());
            Some(quote!(__stampede::Duration::new(#secs, #nanos)))
        }
        Err(message) => {
            faults.at(text, message);
            None
        }
    }
}

fn companion(
    said: Option<&Said<EntryName>>,
    sig: &Signature,
    params: &[Param],
    receiver: Option<&Receiver>,
    sources: &[TokenStream],
) -> Option<Companion> {
    let name = match said.map(|said| &said.value) {
        Some(EntryName::LeftOut) => return None,
        Some(EntryName::Named(name)) => name.clone(),
        None => format_ident!("{}_entry", sig.ident.unraw(), span = sig.ident.span()),
    };
    let wanted = |name: &str| sources.iter().any(|source| mentions(source, name));
    Some(Companion {
        name,
        // The type of an `impl Trait` argument is part of the function's identity, and only known by the argument.
        params: params
            .iter()
            .map(|param| matches!(param.ty, Type::ImplTrait(_)) || wanted(&param.name.to_string()))
            .collect(),
        receiver: receiver.is_some() && wanted("self"),
    })
}

/// Whether an attribute on the function also concerns what is generated beside it.
fn concerns_all(attr: &Attribute) -> bool {
    ["allow", "warn", "deny", "expect", "cfg"].iter().any(|name| attr.path().is_ident(name))
}

/// Whether a variable occurs in these tokens: the identifier, other than as a field or method of something, or captured by a
/// format string.
fn mentions(tokens: &TokenStream, name: &str) -> bool {
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
}
