//! What an annotated function comes to: everything that expansion needs, checked.

use std::sync::atomic::{AtomicUsize, Ordering};

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, Lit, LitStr, Meta, Pat, Receiver, ReturnType, Signature, Type, Visibility};

use crate::args::{Args, EntryName, Said, as_string};
use crate::diagnostics::Faults;
use crate::duration;
use crate::function::{Function, async_trait_output};
use crate::key;
use crate::params::{Param, bare};
use crate::policies;
use crate::signature;
use crate::tokens::mentions;

/// A function to be coalesced.
pub(crate) struct Model {
    /// The path to the runtime's support module.
    pub(crate) support: TokenStream,
    /// The path to what users see.
    pub(crate) krate: TokenStream,
    pub(crate) attrs: Vec<Attribute>,
    /// Those of the attributes that also concern what is generated beside the function.
    pub(crate) lint_attrs: Vec<Attribute>,
    /// Those that the companion has, too.
    pub(crate) companion_attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    /// As the user wrote it.
    pub(crate) sig: Signature,
    pub(crate) body: TokenStream,
    /// The arguments without the receiver, each with a plain name.
    pub(crate) params: Vec<Param>,
    pub(crate) receiver: Option<Receiver>,
    /// Whether it stands in an impl block, as far as can be seen: it says `self` or `Self`.
    pub(crate) associated: bool,
    pub(crate) place: Place,
    /// Whether `async_trait` has rewritten it.
    pub(crate) async_trait: bool,
    pub(crate) output: Type,
    /// The values that make the key.
    pub(crate) key: Vec<Expr>,
    pub(crate) store: Option<Expr>,
    /// The codec of its values, if they go to the remote tier.
    pub(crate) remote: Option<TokenStream>,
    /// The options that were given, each as the call of a setter.
    pub(crate) options: Vec<TokenStream>,
    /// All that the attribute says of the arguments.
    pub(crate) said: TokenStream,
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

/// Where the user's body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into a function within this one.
    Within,
    /// Into a function beside this one: one within would not know `Self`.
    Beside,
    /// Into the call: a trait's impl takes no function that the trait does not have.
    InCall,
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
        let attrs: Vec<_> = attrs.into_iter().map(without_expectation).collect();
        let (lint_attrs, companion_attrs) = shared_attrs(&attrs);
        let async_trait = async_trait_output(&sig);
        policies::check(&args, faults);

        let rewritten = async_trait.map(|_| &body);
        let receiver = sig.receiver().cloned();
        let params: Vec<Param> =
            sig.inputs.iter().enumerate().filter_map(|(index, input)| Param::read(index, input, rewritten)).collect();
        signature::check(&args, &sig, &body, &params, async_trait.is_some(), faults);
        let key = key::key(&args, &params, &sig, faults);
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
            if let Some(value) = duration(&said.word, &said.value, faults) {
                let setter = &said.word;
                options.push(quote_spanned!(said.value.span()=> .#setter(#value)));
            }
        }
        options.extend(policies::options(&args, faults));
        for Said { word, value } in [&args.cache_if, &args.weight].into_iter().flatten() {
            options.push(quote_spanned!(value.span()=> .#word(#value)));
        }

        let stored = key.iter().chain(&store);
        let said = quote!(#(#stored)* #(#options)*);
        let companion = companion(args.entry.as_ref(), &sig, &params, &said, async_trait.is_some(), faults);

        let remote = policies::remote(&args);
        let own_errors = policies::own_errors(&args);
        let krate = args.krate.map_or_else(|| quote!(::stampede), |said| said.value.into_token_stream());
        let output = match (async_trait, &sig.output) {
            (Some(output), _) => output.clone(),
            (None, ReturnType::Default) => syn::parse_quote!(()),
            (None, ReturnType::Type(_, ty)) => bare(ty).clone(),
        };
        let says_self = [&sig.to_token_stream(), &body, &said].into_iter().any(|tokens| mentions(tokens, "Self"));
        let associated = receiver.is_some() || says_self || async_trait.is_some();
        let place = match (associated, &companion, &vis) {
            _ if async_trait.is_some() => Place::InCall,
            (false, ..) => Place::Within,
            (true, None, Visibility::Inherited) => Place::InCall,
            (true, ..) => Place::Beside,
        };
        Self {
            support: quote!(#krate::__private),
            krate,
            lint_attrs,
            companion_attrs,
            async_trait: async_trait.is_some(),
            attrs,
            vis,
            body,
            params,
            receiver,
            associated,
            place,
            output,
            key,
            store,
            remote,
            options,
            said,
            own_errors,
            share_error: args.share_error.map(|said| said.value),
            inline: args.inline.is_some(),
            name: args.name.and_then(|said| name(&said.value, faults)),
            version: args.version.map_or_else(String::new, |said| said.value.base10_digits().to_owned()),
            number: number(),
            companion,
            sig,
        }
    }

    /// Whether the attribute mentions an argument, or part of it. Then it is not unused.
    pub(crate) fn is_mentioned(&self, param: &Param) -> bool {
        param.bound.iter().chain([&param.name]).any(|name| mentions(&self.said, &name.to_string()))
    }

    /// The arguments that the attribute mentions by parts of them.
    pub(crate) fn parted_params(&self) -> impl Iterator<Item = (&Param, &Pat)> {
        let is_mentioned = |param: &&Param| param.bound.iter().any(|name| mentions(&self.said, &name.to_string()));
        self.params.iter().filter(is_mentioned).filter_map(|param| Some((param, param.parts.as_ref()?)))
    }

    /// The generic types.
    pub(crate) fn type_params(&self) -> impl Iterator<Item = &Ident> {
        self.sig.generics.type_params().map(|param| &param.ident)
    }

    /// The generic constants.
    pub(crate) fn const_params(&self) -> impl Iterator<Item = &Ident> {
        self.sig.generics.const_params().map(|param| &param.ident)
    }
}

/// The crate, its version, and how many of its functions have been annotated so far.
fn number() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    format!("{version} {} {}", compilation(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// What tells this crate from another of its name: a library from its binary and its tests, which Cargo compiles with
/// different metadata.
fn compilation() -> String {
    let metadata = std::env::args().find_map(|arg| {
        let arg = arg.strip_prefix("-C").unwrap_or(&arg);
        arg.strip_prefix("metadata=").map(str::to_owned)
    });
    let target = || std::env::var("CARGO_BIN_NAME").unwrap_or_default();
    metadata.unwrap_or_else(target)
}

fn name(said: &LitStr, faults: &mut Faults) -> Option<String> {
    let name = said.value();
    if name.trim().is_empty() {
        faults.at(said, "a name without letters: leave `name` out for the function's own");
        return None;
    }
    Some(name)
}

/// The value of an argument that is a duration.
pub(crate) fn duration(word: &Ident, expr: &Expr, faults: &mut Faults) -> Option<TokenStream> {
    if let Some(text) = as_string(expr) {
        return match duration::parse(&text.value()) {
            Ok(duration) if duration.is_zero() && word == "run_limit" => {
                faults.at(text, "a run needs some time: leave `run_limit` out for the default of 5 minutes");
                None
            }
            Ok(duration) => {
                let (secs, nanos) = (duration.as_secs(), duration.subsec_nanos());
                Some(quote!(__stampede::Duration::new(#secs, #nanos)))
            }
            Err(message) => {
                faults.at(text, message);
                None
            }
        };
    }
    if let Expr::Lit(ExprLit { lit: Lit::Int(_) | Lit::Float(_), .. }) = expr {
        faults.at(expr, format!("a duration needs a unit: write `{word} = \"{}s\"`", expr.to_token_stream()));
        return None;
    }
    Some(quote_spanned!(expr.span()=> __stampede::duration(#expr)))
}

fn companion(
    entry: Option<&Said<EntryName>>,
    sig: &Signature,
    params: &[Param],
    said: &TokenStream,
    async_trait: bool,
    faults: &mut Faults,
) -> Option<Companion> {
    let name = match entry {
        Some(Said { value: EntryName::LeftOut, .. }) => return None,
        Some(Said { value: EntryName::Named(name), .. }) if async_trait => {
            faults.at(name, "a trait's impl takes no function that the trait does not have: write `entry = false`");
            return None;
        }
        None if async_trait => return None,
        Some(Said { value: EntryName::Named(name), .. }) => name.clone(),
        None => format_ident!("{}_entry", sig.ident.unraw(), span = sig.ident.span()),
    };
    let wanted = |name: &Ident| mentions(said, &name.to_string());
    Some(Companion {
        name,
        // The type of an `impl Trait` argument is part of the function's identity, and only known by the argument.
        params: params
            .iter()
            .map(|param| param.is_unnamed() || wanted(&param.name) || param.bound.iter().any(wanted))
            .collect(),
        receiver: sig.receiver().is_some() && mentions(said, "self"),
    })
}

/// Those of a function's attributes that also concern what is generated beside it, and those that its companion takes over.
fn shared_attrs(attrs: &[Attribute]) -> (Vec<Attribute>, Vec<Attribute>) {
    let of = |names: &[&str]| {
        let concerns = |attr: &&Attribute| names.iter().any(|name| attr.path().is_ident(name));
        attrs.iter().filter(concerns).cloned().collect::<Vec<_>>()
    };
    let is_hidden = |attr: &Attribute| attr.path().is_ident("doc") && attr.meta.require_list().is_ok();
    let mut companion = of(&["deprecated"]);
    companion.extend(attrs.iter().filter(|attr| is_hidden(attr)).cloned());
    (of(&["allow", "warn", "deny", "cfg"]), companion)
}

/// An expectation that is allowed to be disappointed: what it was about may have moved.
fn without_expectation(attr: Attribute) -> Attribute {
    match attr.meta {
        Meta::List(mut list) if list.path.is_ident("expect") => {
            list.path = Ident::new("allow", list.path.span()).into();
            Attribute { meta: Meta::List(list), ..attr }
        }
        _ => attr,
    }
}
