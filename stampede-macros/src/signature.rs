//! What a signature has to be like.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{FnArg, Receiver, ReceiverKind, ReturnType, Signature};

use crate::args::Args;
use crate::diagnostics::Faults;
use crate::params::{NO_COPY, Param, bare};
use crate::tokens::{borrows, borrows_mut, mentions};

/// Checks a function, as written or as `async_trait` has rewritten it.
pub(crate) fn check(
    args: &Args,
    sig: &Signature,
    body: &TokenStream,
    params: &[Param],
    is_async_trait: bool,
    faults: &mut Faults,
) {
    if sig.asyncness.is_none() && !is_async_trait {
        faults.at(&sig.fn_token, "a function that is not `async` cannot be coalesced: write `async fn`");
    }
    if let Some(TokenTree::Punct(semicolon)) = body.clone().into_iter().next() {
        faults.at(&semicolon, "there is no body to be run once: annotate the function where it has one");
    }
    check_inputs(args, sig, params, faults);
    if !is_async_trait {
        check_output(sig, faults);
    }
}

fn check_inputs(args: &Args, sig: &Signature, params: &[Param], faults: &mut Faults) {
    if let Some(FnArg::Receiver(receiver)) = sig.inputs.first() {
        if is_mut(receiver) {
            faults.at(
                receiver,
                "`&mut self` cannot be shared by the calls of one run: take `&self` or `self: Arc<Self>`",
            );
        } else if args.inline.is_none()
            && let ReceiverKind::Typed(_, ty) = &receiver.kind
            && !matches!(bare(ty), syn::Type::Reference(_))
            && borrows(&ty.to_token_stream())
        {
            faults.at(ty, NO_COPY);
        }
    }
    for param in params {
        if borrows_mut(&param.ty.to_token_stream()) {
            faults.at(
                &param.ty,
                "a `&mut` argument cannot be shared by the calls of one run: take a value or `&`, and return what changes",
            );
        } else if args.inline.is_none() {
            param.check_borrow(faults);
        }
    }
}

fn check_output(sig: &Signature, faults: &mut Faults) {
    let ReturnType::Type(_, ty) = &sig.output else { return };
    let tokens = ty.to_token_stream();
    if mentions(&tokens, "impl") {
        faults.at(ty, "a value to be stored needs a type with a name: write the type that is returned");
    } else if borrows(&tokens) {
        faults.at(
            ty,
            "a stored value outlives the call and cannot borrow: return what owns its data, such as `String` for `&str`, or \
             an `Arc`",
        );
    }
}

fn is_mut(receiver: &Receiver) -> bool {
    match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => mutability.is_some(),
        ReceiverKind::Typed(_, ty) => borrows_mut(&ty.to_token_stream()),
        _ => false,
    }
}
