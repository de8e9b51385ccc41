//! Implementation detail of the `stampede-rs` crate, which documents the attribute.
//!
//! ```text
//! tokens ──parse──▶ Args, Function ──model──▶ Model ──expand──▶ tokens
//! ```
//!
//! Parsing takes what the user wrote apart and keeps every token for its span; modelling checks it as a whole and reports
//! all faults together; expansion cannot fail.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))] // a library has no business giving up

mod args;
mod diagnostics;
mod duration;
mod expand;
mod function;
mod key;
mod model;
mod params;
mod policies;
mod rewrite;
mod signature;
mod spans;
mod tokens;

use proc_macro::TokenStream;
use quote::quote;

use crate::diagnostics::Faults;
use crate::function::{Function, Variant};

/// See `stampede::coalesce`.
#[proc_macro_attribute]
pub fn coalesce(args: TokenStream, item: TokenStream) -> TokenStream {
    coalesced(&args.into(), &item.into()).into()
}

fn coalesced(args: &proc_macro2::TokenStream, item: &proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    let mut faults = Faults::default();
    let function = faults.take(syn::parse2::<Function>(item.clone()));
    let variants = function.map(|function| Variant::all(function, &mut faults));
    if let Some(errors) = faults.finish(&[]) {
        return quote!(#errors #item);
    }
    let expanded = variants.into_iter().flatten().map(|Variant { cfgs, function }| {
        let mut faults = Faults::default();
        let args = args::Args::parse(args.clone(), &mut faults);
        let model = model::Model::new(args, function.clone(), &mut faults);
        match faults.finish(&cfgs) {
            None => expand::expand(&model),
            // The function as it was: one mistake here is no mistake of its callers.
            Some(errors) => {
                let stand_in = expand::stand_in(&model);
                quote!(#errors #function #stand_in)
            }
        }
    });
    quote!(#(#expanded)*)
}
