//! From the model to tokens. The user's body appears once; everything else calls into the runtime.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{FnArg, Signature, Type, parse_quote};

use crate::model::{Companion, Model, Param};

/// How many parts of a key stand side by side: serde knows tuples of up to sixteen.
const TUPLE: usize = 12;

pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model { attrs, vis, .. } = model;
    let sig = plain_signature(model);
    let (beside, within) = if model.associated { (helpers(model), quote!()) } else { (quote!(), helpers(model)) };
    let call = call(model);
    let companion = model.companion.as_ref().map(|companion| entry(model, companion));
    let lints = lints();
    quote! {
        #(#attrs)*
        #lints
        #vis #sig {
            #within
            #call
        }
        #beside
        #companion
    }
}

/// The names of the body and of what starts it.
fn helper_names(model: &Model) -> (Ident, Ident) {
    if model.associated {
        let name = model.sig.ident.unraw();
        (format_ident!("__stampede_{name}_body"), format_ident!("__stampede_{name}_start"))
    } else {
        (format_ident!("__stampede_body"), format_ident!("__stampede_start"))
    }
}

/// The user's body in a function of its own, and the function that sends it off with copies of its arguments.
///
/// They are two because a body that calls itself cannot be known to be `Send` where its own future is made.
fn helpers(model: &Model) -> TokenStream {
    let Model { support, lint_attrs, output, .. } = model;
    let body = body(model);
    let (body_name, start_name) = helper_names(model);
    let body_sig = Signature { ident: body_name.clone(), ..model.sig.clone() };
    let lints = lints();
    let body_fn = quote! {
        #(#lint_attrs)*
        #[doc(hidden)]
        #lints
        #body_sig #body
    };
    if model.inline {
        return body_fn;
    }
    let start_sig = Signature {
        ident: start_name,
        asyncness: None,
        output: parse_quote!(-> #support::Detach<#output>),
        ..plain_signature(model)
    };
    let names: Vec<&Ident> = model.params.iter().map(|param| &param.name).collect();
    let cfgs: Vec<_> = model.params.iter().map(|Param { attrs, .. }| quote!(#(#attrs)*)).collect();
    let this = model.receiver.iter().map(|_| Ident::new("__stampede_self", Span::mixed_site())).collect::<Vec<_>>();
    let path = path_to(model, &body_name);
    quote! {
        #body_fn

        #(#lint_attrs)*
        #[doc(hidden)]
        #lints
        #start_sig {
            use #support as __stampede;
            use __stampede::SnapValue as _;
            #(let #this = __stampede::Snap(self).snap();)*
            #(#cfgs let #names = __stampede::Snap(#names).snap();)*
            __stampede::Box::pin(async move { #path(#(#this.lend(),)* #(#cfgs #names.lend()),*).await })
        }
    }
}

/// How to name a helper from within the function: with its generics, which need not show in its arguments.
fn path_to(model: &Model, helper: &Ident) -> TokenStream {
    let owner = model.associated.then(|| quote!(Self::));
    // A constant in braces, lest it be taken for a type of the same name.
    let types = model.type_params().map(ToTokens::to_token_stream);
    let generics: Vec<_> = types.chain(model.const_params().map(|param| quote!({ #param }))).collect();
    let turbofish = (!generics.is_empty()).then(|| quote!(::<#(#generics),*>));
    quote!(#owner #helper #turbofish)
}

/// The user's body. An argument that only the attribute mentions is not unused.
fn body(model: &Model) -> TokenStream {
    let tokens = &model.body;
    let mut body = tokens.clone().into_iter();
    let (Some(TokenTree::Group(block)), None) = (body.next(), body.next()) else { return tokens.clone() };
    let inner = block.stream();
    // What stands first in a block has to stay first there.
    let mut start = inner.clone().into_iter().take(2).map(|token| token.to_string());
    let has_attributes = start.next().as_deref() == Some("#") && start.next().as_deref() == Some("!");
    let used = model.mentioned_params().map(|Param { name, attrs, .. }| quote!(#(#attrs)* let _ = &#name;));
    let used = (!has_attributes).then(|| quote!(#(#used)*));
    let mut whole = Group::new(Delimiter::Brace, quote!(#used #inner));
    whole.set_span(block.span());
    TokenTree::Group(whole).into()
}

/// The call, in place of the body.
fn call(model: &Model) -> TokenStream {
    let Model { support, output, .. } = model;
    let (body_name, start_name) = helper_names(model);
    let share = if let Some(path) = &model.share_error {
        quote_spanned! {path.span()=>
            __stampede::Named::new(__stampede_reply, #path, __stampede::Probe::<#output>::NEW.find_error())
        }
    } else {
        quote_spanned!(output.span()=> __stampede::Auto::of(__stampede_reply))
    };
    let share = model.own_errors.iter().fold(share, |share, (name, word)| {
        // At the user's word, but with names of ours: the word may come from a macro.
        let span = word.span().resolved_at(Span::call_site());
        let name = Ident::new(name, span);
        quote_spanned!(span=> __stampede::#name(__stampede_reply, #share))
    });
    let (launch, helper) = if model.inline { ("Inline", body_name) } else { ("Detached", start_name) };
    let launch = Ident::new(launch, Span::call_site());
    let path = path_to(model, &helper);
    let this = model.receiver.iter().map(|receiver| receiver.self_token);
    let names = model.params.iter().map(|Param { name, attrs, .. }| {
        let again = quote_spanned!(name.span()=> __stampede::again(&#name));
        quote!(#(#attrs)* #again)
    });
    let target = target(model);
    let options = options(model);
    quote! {
        use #support as __stampede;
        use __stampede::ProbeOther as _;
        ({
            let __stampede_reply = __stampede::Probe::<#output>::NEW.reply();
            #target
            __stampede::call(
                &__stampede_target,
                __stampede_reply,
                #share,
                __stampede::#launch,
                || #options,
                || #path(#(__stampede::again(&#this),)* #(#names),*),
            )
        })
        .await
    }
}

/// The companion.
fn entry(model: &Model, companion: &Companion) -> TokenStream {
    let Model { support, krate, vis, output, lint_attrs, sig, .. } = model;
    let Companion { name, params, receiver } = companion;
    let taken = model.params.iter().zip(params).filter(|(_, taken)| **taken);
    let taken = taken.map(|(Param { name, ty, attrs, .. }, _)| quote!(#(#attrs)* #name: #ty));
    let this = model.receiver.iter().filter(|_| *receiver);
    let (generics, clause) = (&sig.generics, &sig.generics.where_clause);
    let target = target(model);
    let options = options(model);
    let function = sig.ident.to_string();
    let doc = format!(
        " What is stored for a key of [`{function}`](Self::{function}): to be read, written and voided by hand."
    );
    let doc = if model.associated { doc } else { doc.replace("Self::", "") };
    let lints = lints();
    quote! {
        #(#lint_attrs)*
        #[doc = #doc]
        #lints
        #vis fn #name #generics (#(#this,)* #(#taken),*) -> #krate::FnEntry<#output> #clause {
            use #support as __stampede;
            use __stampede::ProbeOther as _;
            let __stampede_reply = __stampede::Probe::<#output>::NEW.reply();
            #target
            __stampede::entry(&__stampede_target, __stampede_reply, #options)
        }
    }
}

/// Which key of which cache: the same statements for the function and its companion.
fn target(model: &Model) -> TokenStream {
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
            quote_spanned!(store.span()=> let __stampede_store: &__stampede::Store = &(#store);),
            quote!(__stampede::Option::Some(__stampede_store)),
        ),
        None => (quote!(), quote!(__stampede::Option::None)),
    };
    let own = model.associated.then(|| quote!(__stampede::type_of::<Self>()));
    let types = model.type_params().map(|param| quote!(__stampede::type_of::<#param>()));
    let unnamed = model
        .params
        .iter()
        .filter(|param| matches!(param.ty, Type::ImplTrait(_)))
        .map(|Param { name, .. }| quote!(__stampede::type_of_val(&#name)));
    let types = own.into_iter().chain(types).chain(unnamed);
    let consts = model.const_params().map(ToTokens::to_token_stream);
    let parts = consts.chain(model.key.iter().map(|part| quote_spanned!(part.span()=> &(#part)))).collect::<Vec<_>>();
    let parts = tuple(&parts);
    quote! {
        static __STAMPEDE_SITE: __stampede::Site =
            __stampede::Site::new(__stampede::concat!(__stampede::module_path!(), #id), #name);
        #store
        let __stampede_target = __stampede::Target {
            site: &__STAMPEDE_SITE,
            owner: #owner,
            types: &[#(#types),*],
            store: #place,
            key: #parts,
        };
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
    quote!(__stampede::options(__stampede::Probe::<#output>::NEW.reply()) #(#options)*)
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
