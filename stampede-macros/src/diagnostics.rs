//! Faults of one attribute, reported together.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::Attribute;

/// The faults found so far.
#[derive(Default)]
pub(crate) struct Faults {
    found: Option<syn::Error>,
}

impl Faults {
    /// Adds a fault at these tokens.
    pub(crate) fn at(&mut self, tokens: &impl ToTokens, message: impl std::fmt::Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    /// Adds a fault.
    pub(crate) fn add(&mut self, fault: syn::Error) {
        match &mut self.found {
            Some(found) => found.combine(fault),
            None => self.found = Some(fault),
        }
    }

    /// The result's value, or nothing and one more fault.
    pub(crate) fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|fault| self.add(fault)).ok()
    }

    /// All faults as compile errors, if there are any, where these attributes do not leave them out.
    pub(crate) fn finish(self, cfgs: &[Attribute]) -> Option<TokenStream> {
        let errors = self.found?.into_iter().map(|fault| {
            let error = fault.to_compile_error();
            quote!(#(#cfgs)* #error)
        });
        Some(quote!(#(#errors)*))
    }
}
