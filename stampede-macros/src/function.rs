//! The annotated function, as written.

use proc_macro2::TokenStream;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Signature, Visibility};

/// A function whose body is left alone.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    /// The body with its braces, token for token.
    pub(crate) body: TokenStream,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let sig = input.parse().map_err(|fault: syn::Error| {
            syn::Error::new(fault.span(), format!("{fault}: #[coalesce] stands on an async function"))
        })?;
        let body: TokenStream = input.parse()?;
        Ok(Self { attrs, vis, sig, body })
    }
}
