//! From the model to tokens. The user's body appears once; everything else calls into the runtime.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Expr, FnArg, GenericParam, Receiver, Safety, Signature, Type, Visibility, parse_quote};

use crate::model::{Companion, Model, Place};
use crate::params::{Copied, Param};
use crate::rewrite::without_self;
use crate::spans::{at, mention};
use crate::tokens::mentions;

/// How many parts of a key stand side by side: serde knows tuples of up to sixteen.
const TUPLE: usize = 12;

pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model { attrs, vis, .. } = model;
    let sig = plain_signature(model);
    let (within, beside) = match model.place {
        Place::Within => (Some(helpers(model)), None),
        Place::Beside => (None, Some(helpers(model))),
        Place::InCall => (None, None),
    };
    let call = call(model);
    let call = if model.async_trait {
        let support = &model.support;
        quote!(#support::Box::pin(async move { #call }))
    } else {
        call
    };
    let companion = model.companion.as_ref().map(|companion| entry(model, companion));
    // With the braces of the user's, so that linters take the function for the user's.
    let mut block = Group::new(Delimiter::Brace, quote!(#within #call));
    block.set_span(model.body.span());
    quote! {
        #(#attrs)*
        #[allow(clippy::used_underscore_binding)]
        #vis #sig #block
        #beside
        #companion
    }
}

/// The names of the body and of what starts it.
fn helper_names(model: &Model) -> (Ident, Ident) {
    if model.place == Place::Within {
        return (format_ident!("__stampede_body"), format_ident!("__stampede_start"));
    }
    let name = model.sig.ident.unraw();
    // Where there is no `pub`, this may be a trait's impl; then the compiler complains about these names.
    let advice = if matches!(model.vis, Visibility::Inherited) { "__in_a_trait_impl_write_entry_false" } else { "" };
    (format_ident!("__stampede_{name}_body{advice}"), format_ident!("__stampede_{name}_start{advice}"))
}

/// The user's body in a function of its own, and the function that sends it off with copies of its arguments.
///
/// They are two because a body that calls itself cannot be known to be `Send` where its own future is made.
fn helpers(model: &Model) -> TokenStream {
    let Model { support, lint_attrs, output, .. } = model;
    let body = &model.body;
    let (body_name, start_name) = helper_names(model);
    let body_sig = body_signature(model, &body_name);
    let lints = lints();
    // What has been said of the function itself; and `self` is of use where it is in the key.
    let unused_self =
        model.companion.as_ref().is_some_and(|companion| companion.receiver).then(|| quote!(clippy::unused_self,));
    let body_fn = quote! {
        #(#lint_attrs)*
        #[doc(hidden)]
        #[allow(
            deprecated, #unused_self clippy::unused_async, clippy::too_many_arguments, clippy::many_single_char_names,
            clippy::large_types_passed_by_value,
            clippy::missing_errors_doc, clippy::missing_panics_doc, clippy::missing_safety_doc,
        )]
        #body_sig #body
    };
    if model.inline {
        return body_fn;
    }
    let mut start_sig = Signature {
        ident: start_name,
        asyncness: None,
        output: parse_quote!(-> #support::Detach),
        ..plain_signature(model)
    };
    start_sig.inputs.push(parse_quote!(__stampede_returns: impl #support::Pack<#output>));
    let copies = copies(model, Clone::clone);
    let path = path_to(model, &body_name);
    let arguments = locals(model).map(|local| quote!(#local.lend().arg()));
    let call = within_unsafe(model, quote!(#path(#(#arguments),*)));
    quote! {
        #body_fn

        #(#lint_attrs)*
        #[doc(hidden)]
        #lints
        #start_sig {
            use #support as __stampede;
            #copies
            __stampede::detach(async move { __stampede::pack(__stampede_returns, #call.await) })
        }
    }
}

/// The user's signature for the body. An argument that only the attribute mentions is not unused.
fn body_signature(model: &Model, name: &Ident) -> Signature {
    let mut sig = Signature { ident: name.clone(), ..model.sig.clone() };
    let mut params = model.params.iter();
    for input in &mut sig.inputs {
        if let FnArg::Typed(arg) = input
            && params.next().is_some_and(|param| model.is_mentioned(param))
        {
            arg.attrs.push(parse_quote!(#[allow(unused_variables)]));
        }
    }
    sig
}

/// How to name a helper from within the function: with its generics, which need not show in its arguments.
fn path_to(model: &Model, helper: &Ident) -> TokenStream {
    let owner = model.associated.then(|| quote!(Self::));
    let generics = model.sig.generics.params.iter().filter_map(|param| match param {
        GenericParam::Type(param) => Some(param.ident.to_token_stream()),
        // In braces, lest it be taken for a type of the same name.
        GenericParam::Const(param) => {
            let name = &param.ident;
            Some(quote!({ #name }))
        }
        GenericParam::Lifetime(_) => None,
    });
    let generics: Vec<_> = generics.collect();
    let turbofish = (!generics.is_empty()).then(|| quote!(::<#(#generics),*>));
    quote!(#owner #helper #turbofish)
}

/// A call of an unsafe function, by the right that the caller of this one has.
fn within_unsafe(model: &Model, call: TokenStream) -> TokenStream {
    if matches!(model.sig.safety, Safety::Unsafe(_)) { quote!(unsafe { #call }) } else { call }
}

/// What `self` is called where it cannot be called so: in messages of panics, it is what users see.
fn this(model: &Model) -> &'static str {
    if model.params.iter().any(|param| param.name == "__self") { "__stampede_self" } else { "__self" }
}

/// The same delimiters in another place.
fn respanned(token: TokenTree, span: Span) -> TokenTree {
    match token {
        TokenTree::Group(group) => {
            let mut group = Group::new(group.delimiter(), group.stream());
            group.set_span(span);
            group.into()
        }
        other => other,
    }
}

/// The arguments, the receiver first, as they are and by the names that their copies have.
fn arguments(model: &Model) -> impl Iterator<Item = (TokenStream, TokenStream, Option<&Param>)> {
    let this = Ident::new(this(model), Span::call_site());
    let this = model
        .receiver
        .iter()
        .map(move |receiver| (mention(receiver.self_token.to_token_stream()), this.to_token_stream(), None));
    let params = model.params.iter().map(|param| {
        let name = mention(param.name.to_token_stream());
        (name.clone(), name, Some(param))
    });
    this.chain(params)
}

fn locals(model: &Model) -> impl Iterator<Item = TokenStream> {
    arguments(model).map(|(_, local, _)| local)
}

/// Copies of the arguments that a run can take along.
fn copies(model: &Model, argument: impl Fn(&TokenStream) -> TokenStream) -> TokenStream {
    let copies = arguments(model).map(|(name, local, param)| {
        let value = argument(&name);
        let (span, by) =
            param.map_or_else(|| (local.span(), Copied::ByType), |param| (at(param.ty.span()), param.copied()));
        let copy = match by {
            Copied::ByType => quote_spanned!(span=> __stampede::Snap::of(&#name).__snap(#value)),
            Copied::AsReference => {
                quote_spanned!(span=> __stampede::SnapRef::__snap(__stampede::Snap::of(&#name), #value))
            }
            Copied::AsValue => {
                quote_spanned!(span=> __stampede::SnapValue::__snap(&__stampede::Snap::of(&#name), #value))
            }
        };
        quote!(let #local = #copy;)
    });
    quote! {
        use __stampede::{SnapRef as _, SnapValue as _};
        #(#copies)*
    }
}

/// An argument for one more run.
fn again(argument: &TokenStream) -> TokenStream {
    quote_spanned!(at(argument.span())=> __stampede::Snap::of(&#argument).again(&#argument))
}

/// What makes the future of a run: a call of the helper, or the body itself.
fn start(model: &Model) -> TokenStream {
    let (body_name, start_name) = helper_names(model);
    if model.place != Place::InCall {
        let arguments = arguments(model).map(|(argument, ..)| again(&argument));
        return if model.inline {
            let path = path_to(model, &body_name);
            let call = within_unsafe(model, quote!(#path(#(#arguments),*)));
            quote! {
                |__stampede_returns| {
                    let __stampede_body = #call;
                    async move { __stampede::pack(__stampede_returns, __stampede_body.await) }
                }
            }
        } else {
            let path = path_to(model, &start_name);
            // What is wrong with the reply is said once, for it is said of one place.
            let arguments = arguments.chain([quote_spanned!(at(model.output.span())=> __stampede_returns)]);
            let call = within_unsafe(model, quote!(#path(#(#arguments),*)));
            quote!(|__stampede_returns| #call)
        };
    }
    let output = &model.output;
    let body = without_self(model.body.clone(), this(model));
    // In braces of ours, lest a linter find them needless.
    let body: TokenStream = body.into_iter().map(|token| respanned(token, at(model.body.span()))).collect();
    let body = if model.async_trait {
        quote!(#body.await)
    } else {
        // The type is known before the body returns for the first time.
        quote! {
            if let __stampede::Option::Some(__stampede_never) = __stampede::Option::None::<#output> {
                return __stampede_never;
            }
            #body
        }
    };
    let bindings = arguments(model).map(|(_, local, param)| {
        let is_mentioned = param.is_none_or(|param| model.is_mentioned(param));
        let unused = is_mentioned.then(|| quote!(#[allow(unused_variables)]));
        let pat = match (param, &model.receiver) {
            (Some(param), _) if !model.async_trait => param.pat.to_token_stream(),
            (None, Some(receiver)) => {
                // Where an editor goes from a `self` in the body.
                let (this, mutability) = (Ident::new(this(model), receiver.self_token.span), receiver.mutability);
                quote!(#mutability #this)
            }
            _ => local,
        };
        (unused, pat)
    });
    let (unused, bindings): (Vec<_>, Vec<_>) = bindings.unzip();
    let locals = locals(model).collect::<Vec<_>>();
    // In a future of its own, which it may return from.
    let packed = |values: &[TokenStream]| {
        quote! {
            __stampede::pack(
                __stampede_returns,
                async move {
                    #(#unused let #bindings = #values;)*
                    #body
                }
                .await,
            )
        }
    };
    if model.inline {
        let copies = arguments(model).map(|(argument, local, _)| {
            let again = again(&argument);
            quote!(let #local = #again;)
        });
        let packed = packed(&locals);
        quote! {
            |__stampede_returns| {
                #(#copies)*
                async move { #packed }
            }
        }
    } else {
        let copies = copies(model, again);
        let packed = packed(&locals.iter().map(|local| quote!(#local.arg())).collect::<Vec<_>>());
        quote! {
            |__stampede_returns| {
                #copies
                __stampede::detach(async move {
                    #(let #locals = #locals.lend();)*
                    #packed
                })
            }
        }
    }
}

/// The call, in place of the body.
fn call(model: &Model) -> TokenStream {
    let Model { support, output, .. } = model;
    let span = at(output.span());
    let share = if let Some(path) = &model.share_error {
        quote_spanned! {at(path.span())=>
            __stampede::Named::new(__stampede_reply, #path, __stampede::Probe::<#output>::NEW.__find_error())
        }
    } else {
        quote_spanned!(span=> __stampede::auto(__stampede_reply))
    };
    let share = model.own_errors.iter().fold(share, |share, (name, word)| {
        let span = at(word.span());
        let name = Ident::new(name, span);
        quote_spanned!(span=> __stampede::#name(__stampede_reply, #share))
    });
    let launch = Ident::new(if model.inline { "Inline" } else { "Detached" }, span);
    let start = start(model);
    let parts = parts(model);
    let reply = reply(model);
    let options = options(model);
    let then = quote_spanned! {span=>
        __stampede::call(&__stampede_target, __stampede_returns, __stampede::#launch, || #options, #start)
    };
    let call = with_target(model, &then);
    // What is wrong with the reply is said once, for it is said of one place.
    quote_spanned! {span=>
        use #support as __stampede;
        use __stampede::ProbeOther as _;
        #parts
        ({
            #reply
            let __stampede_returns = __stampede::returns(__stampede_reply, #share);
            let __stampede_called = { #call };
            match __stampede_called {
                __stampede::Called::Hit(__stampede_answer) => return __stampede_answer,
                __stampede::Called::Going(__stampede_call) => __stampede_call,
            }
        })
        .await
    }
}

/// The companion.
fn entry(model: &Model, companion: &Companion) -> TokenStream {
    let Model { support, output, .. } = model;
    let parts = parts(model);
    let reply = reply(model);
    let options = options(model);
    let entry = quote_spanned! {at(output.span())=>
        __stampede::entry(&__stampede_target, __stampede_reply, #options)
    };
    let entry = with_target(model, &entry);
    let body = quote! {
        use #support as __stampede;
        use __stampede::ProbeOther as _;
        #parts
        #reply
        #entry
    };
    companion_with(model, companion, &body)
}

/// The companion of a function whose attribute is at fault, lest its callers be told that there is none.
pub(crate) fn stand_in(model: &Model) -> TokenStream {
    // A type without a name is a fault already, and would be one of the companion, too.
    if mentions(&model.output.to_token_stream(), "impl") {
        return TokenStream::new();
    }
    let companion = model.companion.iter().map(|companion| companion_with(model, companion, &quote!(loop {})));
    quote!(#(#companion)*)
}

fn companion_with(model: &Model, companion: &Companion, body: &TokenStream) -> TokenStream {
    let Model { krate, vis, output, lint_attrs, companion_attrs, sig, .. } = model;
    let Companion { name, params, receiver } = companion;
    let taken = model.params.iter().zip(params).filter(|(_, taken)| **taken);
    let taken = taken.map(|(Param { name, ty, .. }, _)| quote!(#name: #ty));
    let this = model.receiver.iter().filter(|_| *receiver).map(|this| Receiver { mutability: None, ..this.clone() });
    let (generics, clause) = (&sig.generics, &sig.generics.where_clause);
    let function = sig.ident.unraw();
    // There is no telling where a function is that does not stand in an impl.
    let function = if model.associated { format!("[`{function}`](Self::{function})") } else { format!("`{function}`") };
    let doc = format!(" What is stored for a key of {function}: to be read, written and voided by hand.");
    let lints = lints();
    quote! {
        #(#lint_attrs)*
        #(#companion_attrs)*
        #[doc = #doc]
        #[allow(dead_code, deprecated, unused_variables)]
        #lints
        #vis fn #name #generics (#(#this,)* #(#taken),*) -> #krate::FnEntry<#output> #clause {
            #body
        }
    }
}

/// What kind of reply the function gives.
fn reply(model: &Model) -> TokenStream {
    let Model { output, .. } = model;
    let span = at(output.span());
    let reply = Ident::new("__stampede_reply", span);
    let kept = quote_spanned!(span=> __stampede::kept(#reply));
    quote! {
        let #reply = __stampede::Probe::<#output>::NEW.__reply();
        let #reply = #kept;
    }
}

/// The parts of arguments that the attribute names: copies, for they are to have the types that they have in the body.
fn parts(model: &Model) -> TokenStream {
    let parts = model.parted_params().map(|(Param { name, .. }, parts)| {
        let again = again(&name.to_token_stream());
        quote!(#[allow(unused_variables, unused_mut)] let #parts = #again;)
    });
    quote!(#(#parts)*)
}

/// Which key of which cache, and what is done with that: the same for the function and its companion.
fn with_target(model: &Model, then: &TokenStream) -> TokenStream {
    let function = model.sig.ident.unraw().to_string();
    let id = format!("::{function} {} #{}", model.version, model.number);
    let owner = if model.associated && model.name.is_none() {
        quote!(__stampede::Option::Some(__stampede::type_name::<Self>()))
    } else {
        quote!(__stampede::Option::None)
    };
    let name = match &model.name {
        Some(name) => name.to_token_stream(),
        None if model.associated => function.to_token_stream(),
        None => {
            let tail = format!("::{function}");
            quote!(__stampede::concat!(__stampede::module_path!(), #tail))
        }
    };
    let (store, place) = match &model.store {
        Some(store) => (
            quote_spanned!(at(store.span())=> let __stampede_store: &__stampede::Store = &(#store);),
            quote!(__stampede::Option::Some(__stampede_store)),
        ),
        None => (quote!(), quote!(__stampede::Option::None)),
    };
    let own = model.associated.then(|| quote!(__stampede::type_of::<Self>()));
    let types = model.type_params().map(|param| quote!(__stampede::type_of::<#param>()));
    let unnamed = model
        .params
        .iter()
        .filter(|param| param.is_unnamed())
        .map(|Param { name, .. }| quote!(__stampede::type_of_val(&#name)));
    let types = own.into_iter().chain(types).chain(unnamed);
    let consts = model.const_params().map(ToTokens::to_token_stream);
    let (mut names, mut values) = (Vec::new(), Vec::new());
    let parts = model.key.iter().enumerate().map(|(index, part)| {
        let span = at(part.span());
        if let Expr::Path(path) = part {
            // What is a reference is not borrowed: then it need not be in memory to be looked at. Of several of one spelling,
            // which only macros write, there is no telling which it is.
            let mut bearers = model.params.iter().filter(|param| param.binds(&path.path));
            let is_reference = |param: &Param| param.parts.is_none() && matches!(param.ty, Type::Reference(_));
            let is_bare = bearers.next().is_some_and(is_reference) && bearers.all(is_reference);
            let borrow = (!is_bare).then(|| quote_spanned!(span=> &));
            return quote_spanned!(span=> __stampede::part(#borrow #part));
        }
        let name = format_ident!("__stampede_part_{index}");
        values.push(quote_spanned!(span=> &(#part)));
        names.push(name.clone());
        quote_spanned!(span=> __stampede::part(#name))
    });
    let parts = consts.chain(parts).collect::<Vec<_>>();
    let parts = tuple(&parts);
    let then = quote! {
        let __stampede_target = __stampede::Target {
            whose: __stampede::Function { site: &__STAMPEDE_SITE, owner: #owner, types: &[#(#types),*] },
            store: #place,
            key: &#parts,
        };
        #then
    };
    // What an expression borrows from lives as long as the match.
    let then = if names.is_empty() {
        then
    } else {
        quote! {
            let __stampede_result = match (#(#values,)*) {
                (#(#names,)*) => { #then }
            };
            __stampede_result
        }
    };
    quote! {
        static __STAMPEDE_SITE: __stampede::Site =
            __stampede::Site::new(__stampede::concat!(__stampede::module_path!(), #id), #name);
        #store
        #then
    }
}

fn tuple(parts: &[TokenStream]) -> TokenStream {
    if parts.len() <= TUPLE {
        return quote!((#(#parts,)*));
    }
    let groups = parts.chunks(TUPLE).map(tuple).collect::<Vec<_>>();
    tuple(&groups)
}

fn options(model: &Model) -> TokenStream {
    let Model { options, output, .. } = model;
    let remote = model.remote.as_ref().map(|codec| remote(model, codec));
    quote!(__stampede::options(__stampede::Probe::<#output>::NEW.__reply()) #(#options)* #remote)
}

/// What tells the function from every other in all builds, and how its values travel.
fn remote(model: &Model, codec: &TokenStream) -> TokenStream {
    let span = at(codec.span());
    let function = model.sig.ident.unraw().to_string();
    let own = model.associated.then(|| quote!(__stampede::type_name::<Self>()));
    let types = model.type_params().map(|param| quote!(__stampede::type_name::<#param>()));
    let unnamed = model.params.iter().filter(|param| param.is_unnamed());
    let unnamed = unnamed.map(|Param { name, .. }| quote!(__stampede::type_name_of_val(&#name)));
    let types = own.into_iter().chain(types).chain(unnamed);
    let version: u32 = model.version.parse().unwrap_or(1);
    quote_spanned! {span=>
        .remote::<#codec>(__stampede::Identity {
            place: __stampede::place_of(&|| {}),
            function: #function,
            types: __stampede::Vec::from([#(#types),*]),
            version: #version,
        })
    }
}

/// The user's signature with a plain name for every argument.
fn plain_signature(model: &Model) -> Signature {
    let mut sig = model.sig.clone();
    let mut params = model.params.iter();
    for input in &mut sig.inputs {
        match input {
            FnArg::Receiver(receiver) => receiver.mutability = None,
            FnArg::Typed(arg) => {
                if let Some(Param { name, .. }) = params.next() {
                    *arg.pat = parse_quote!(#name);
                }
            }
        }
    }
    sig
}

/// What generated code does that a linter may frown upon.
fn lints() -> TokenStream {
    quote!(#[allow(clippy::all, clippy::pedantic, clippy::nursery)])
}
