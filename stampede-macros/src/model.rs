//! What an annotated function comes to: everything that expansion needs, checked.

use std::sync::atomic::{AtomicUsize, Ordering};

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, Expr, ExprLit, FnArg, GenericParam, Lit, Meta, Pat, Receiver, ReceiverKind, ReturnType, Signature, Type,
    Visibility,
};

use crate::args::{Args, EntryName, Said, as_string};
use crate::diagnostics::Faults;
use crate::duration;
use crate::function::{Function, async_trait_output};
use crate::params::Param;
use crate::policies;
use crate::rewrite::as_in_signature;
use crate::tokens::{borrows, mentions};

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
    pub(crate) place: Place,
    /// Whether `async_trait` has rewritten it.
    pub(crate) async_trait: bool,
    pub(crate) output: Type,
    /// The values that make the key.
    pub(crate) key: Vec<Expr>,
    pub(crate) store: Option<Expr>,
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
        let async_trait = async_trait_output(&sig);
        check_signature(&sig, &body, async_trait.is_some(), faults);
        check_contradictions(&args, faults);
        policies::check(&args, faults);

        let rewritten = async_trait.map(|_| &body);
        let receiver = sig.receiver().cloned();
        let params: Vec<Param> =
            sig.inputs.iter().enumerate().filter_map(|(index, input)| Param::read(index, input, rewritten)).collect();
        if args.inline.is_none() {
            for param in &params {
                param.check_borrow(faults);
            }
        }
        let key = key(&args, &params, &sig, faults);
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
            if let Some(value) = duration(&said.word, &said.value, faults) {
                let setter = &said.word;
                options.push(quote_spanned!(said.value.span()=> .#setter(#value)));
            }
        }
        options.extend(policies::options(&args, faults));
        for Said { word, value } in [&args.cache_if, &args.weight].into_iter().flatten() {
            options.push(quote_spanned!(value.span()=> .#word(#value)));
        }

        let said = key.iter().chain(&store).map(ToTokens::to_token_stream);
        let said: TokenStream = said.chain(options.iter().cloned()).collect();
        let companion = companion(args.entry.as_ref(), &sig, &params, &said, async_trait.is_some(), faults);

        let own_errors = policies::own_errors(&args);
        let krate = args.krate.map_or_else(|| quote!(::stampede), |said| said.value.into_token_stream());
        let output = match (async_trait, &sig.output) {
            (Some(output), _) => output.clone(),
            (None, ReturnType::Default) => syn::parse_quote!(()),
            (None, ReturnType::Type(_, ty)) => (**ty).clone(),
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
            lint_attrs: lint_attrs(&attrs),
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
            options,
            said,
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

    /// The names of arguments that the attribute mentions, as far as the body knows them.
    pub(crate) fn mentioned_names(&self) -> impl Iterator<Item = &Ident> {
        let names = self.params.iter().flat_map(|param| match &param.parts {
            None => std::slice::from_ref(&param.name),
            Some(_) if self.async_trait => &[],
            Some(_) => &param.bound,
        });
        names.filter(|name| mentions(&self.said, &name.to_string()))
    }

    /// The arguments that the attribute mentions by parts of them.
    pub(crate) fn parted_params(&self) -> impl Iterator<Item = (&Param, &Pat)> {
        let is_mentioned = |param: &&Param| param.bound.iter().any(|name| mentions(&self.said, &name.to_string()));
        self.params.iter().filter(is_mentioned).filter_map(|param| Some((param, param.parts.as_ref()?)))
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

fn check_signature(sig: &Signature, body: &TokenStream, async_trait: bool, faults: &mut Faults) {
    if sig.asyncness.is_none() && !async_trait {
        faults.at(&sig.fn_token, "a function that is not `async` cannot be coalesced: write `async fn`");
    }
    if body.to_string() == ";" {
        faults.at(body, "there is no body to be run once: annotate the function where it has one");
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
    if sig.asyncness.is_some()
        && let ReturnType::Type(_, ty) = &sig.output
    {
        if matches!(**ty, Type::ImplTrait(_)) {
            faults.at(ty, "a value to be stored needs a type with a name: write the type that is returned");
        } else if borrows(&ty.to_token_stream()) {
            faults.at(
                ty,
                "a stored value outlives the call and cannot borrow: return what owns its data, such as `String` for \
                 `&str`, or an `Arc`",
            );
        }
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

fn key(args: &Args, params: &[Param], sig: &Signature, faults: &mut Faults) -> Vec<Expr> {
    let this = sig.receiver().map(|receiver| Ident::new("self", receiver.self_token.span));
    let arguments = || {
        let mut names: Vec<String> = Vec::new();
        for param in params {
            match &param.parts {
                None => names.push(param.name.unraw().to_string()),
                Some(_) => names.extend(param.bound.iter().map(|name| name.unraw().to_string())),
            }
        }
        names.extend(this.as_ref().map(ToString::to_string));
        if names.is_empty() { "it has none".to_owned() } else { format!("name one of {}", names.join(", ")) }
    };
    let skipped = args.skip.as_ref().map_or(&[][..], |said| &said.value);
    for name in skipped {
        if !(params.iter().any(|param| param.is(name)) || name == "self" && this.is_some()) {
            faults.at(name, format!("`{name}` is no argument of this function: {}", arguments()));
        }
    }
    let Some(said) = &args.key else {
        let kept = params.iter().filter(|param| !skipped.iter().any(|name| param.is(name)));
        let part = |param: &Param| {
            if let Some(unordered) = param.unordered() {
                faults.at(&param.ty, unordered_key(unordered));
            }
            let name = &param.name;
            syn::parse_quote!(#name)
        };
        return kept.map(part).collect();
    };
    if said.value.is_empty() {
        faults.at(&said.word, "an empty key: name what the result depends on, or `skip(…)` every argument if on none");
    }
    let mut names: Vec<&Ident> = params.iter().flat_map(|param| param.bound.iter().chain([&param.name])).collect();
    names.extend(&this);
    let types = sig.generics.params.iter().filter_map(|param| match param {
        GenericParam::Type(param) => Some(&param.ident),
        GenericParam::Const(param) => Some(&param.ident),
        GenericParam::Lifetime(_) => None,
    });
    let types: Vec<&Ident> = types.collect();
    for part in &said.value {
        let tokens = part.to_token_stream();
        let names_one = names.iter().chain(&types).any(|name| mentions(&tokens, &name.to_string()));
        if !names_one && !mentions(&tokens, "Self") {
            faults.at(part, format!("this part of the key names no argument of the function: {}", arguments()));
        }
        if let Expr::Path(path) = part
            && let Some(param) = params.iter().find(|param| path.path.get_ident().is_some_and(|name| param.is(name)))
            && let Some(unordered) = param.unordered()
        {
            faults.at(part, unordered_key(unordered));
        }
    }
    let part =
        |part: &Expr| syn::parse2(as_in_signature(part.to_token_stream(), &names)).unwrap_or_else(|_| part.clone());
    said.value.iter().map(part).collect()
}

fn unordered_key(collection: &str) -> String {
    format!(
        "a `{collection}` in a key: two that are equal may be walked in different orders, and make two keys: take a \
         `BTree{}`, or name what is sorted by `key = \"…\"`",
        &collection["Hash".len()..]
    )
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

/// Those of a function's attributes that also concern what is generated beside it. An expectation is met once at most.
fn lint_attrs(attrs: &[Attribute]) -> Vec<Attribute> {
    let concerns_all =
        |attr: &&Attribute| ["allow", "warn", "deny", "cfg"].iter().any(|name| attr.path().is_ident(name));
    attrs.iter().filter(concerns_all).cloned().collect()
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
