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
mod model;
mod policies;

use proc_macro::TokenStream;

/// See `stampede::coalesce`.
#[proc_macro_attribute]
pub fn coalesce(args: TokenStream, item: TokenStream) -> TokenStream {
    coalesced(args.into(), item.into()).into()
}

fn coalesced(args: proc_macro2::TokenStream, item: proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    let mut faults = diagnostics::Faults::default();
    let args = args::Args::parse(args, &mut faults);
    let function = faults.take(syn::parse2::<function::Function>(item.clone()));
    let model = function.map(|function| model::Model::new(args, function, &mut faults));
    match (faults.finish(), model) {
        (None, Some(model)) => expand::expand(&model),
        // The function as it was: one mistake here is no mistake of its callers.
        (errors, _) => [errors.unwrap_or_default(), item].into_iter().collect(),
    }
}
