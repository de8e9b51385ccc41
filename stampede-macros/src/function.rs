//! The annotated function, as written.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, FnArg, GenericArgument, GenericParam, Path, PathArguments, ReturnType, Signature, Type, TypeParamBound,
    Visibility, parse_quote,
};

use crate::diagnostics::Faults;
use crate::params::bare;

/// A function whose body is left alone.
#[derive(Clone)]
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
        Ok(Self { attrs, vis, sig, body: bare_block(body) })
    }
}

/// A block without the invisible brackets that come with what a macro was given.
fn bare_block(body: TokenStream) -> TokenStream {
    match body.clone().into_iter().next() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::None => bare_block(group.stream()),
        _ => body,
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { attrs, vis, sig, body } = self;
        tokens.extend(quote!(#(#attrs)* #vis #sig #body));
    }
}

/// A function as it is under a condition.
pub(crate) struct Variant {
    /// The condition, as attributes.
    pub(crate) cfgs: Vec<Attribute>,
    pub(crate) function: Function,
}

impl Variant {
    /// The variants of a function: two for each argument that is there under a condition. What is generated mentions the
    /// arguments in places where no condition can stand.
    pub(crate) fn all(function: Function, faults: &mut Faults) -> Vec<Self> {
        const MOST: usize = 4;

        let conditions =
            |function: &Function| function.sig.inputs.iter().filter(|input| cfg_of(input).is_some()).count();
        if conditions(&function) > MOST {
            faults.at(
                &function.sig.inputs,
                format!("at most {MOST} arguments can have a `#[cfg]` of their own: gather them in a struct"),
            );
            return Vec::new();
        }
        let mut all = vec![Self { cfgs: Vec::new(), function }];
        while let Some(at) = all[0].conditional() {
            all = all.iter().flat_map(|variant| variant.split(at)).collect();
        }
        all
    }

    /// The last argument that has a condition.
    fn conditional(&self) -> Option<usize> {
        self.function.sig.inputs.iter().rposition(|input| cfg_of(input).is_some())
    }

    /// This variant with and without an argument.
    fn split(&self, at: usize) -> [Self; 2] {
        let with = |cfg: Attribute, inputs: Vec<FnArg>| {
            let mut function = self.function.clone();
            function.attrs.insert(0, cfg.clone());
            function.sig.inputs = inputs.into_iter().collect();
            Self { cfgs: self.cfgs.iter().cloned().chain([cfg]).collect(), function }
        };
        let mut there: Vec<FnArg> = self.function.sig.inputs.iter().cloned().collect();
        let mut gone = there.clone();
        let condition = cfg_of(&gone.remove(at));
        if let FnArg::Typed(arg) = &mut there[at] {
            arg.attrs.retain(|attr| !attr.path().is_ident("cfg"));
        }
        [with(parse_quote!(#[cfg(#condition)]), there), with(parse_quote!(#[cfg(not(#condition))]), gone)]
    }
}

/// The condition under which an argument is there, if it has one.
fn cfg_of(input: &FnArg) -> Option<TokenStream> {
    let FnArg::Typed(arg) = input else { return None };
    let cfgs = arg.attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
    let conditions: Vec<_> = cfgs.filter_map(|attr| Some(&attr.meta.require_list().ok()?.tokens)).collect();
    (!conditions.is_empty()).then(|| quote!(all(#(#conditions),*)))
}

/// What the future resolves to in a signature that `async_trait` has rewritten:
/// `fn f<'async_trait>(…) -> Pin<Box<dyn Future<Output = R> + …>>`.
pub(crate) fn async_trait_output(sig: &Signature) -> Option<&Type> {
    let is_marker =
        |param: &GenericParam| matches!(param, GenericParam::Lifetime(param) if param.lifetime.ident == "async_trait");
    if sig.asyncness.is_some() || !sig.generics.params.iter().any(is_marker) {
        return None;
    }
    let ReturnType::Type(_, ty) = &sig.output else { return None };
    let Type::TraitObject(future) = argument(argument(ty, "Pin")?, "Box")? else { return None };
    future.bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => arguments(&bound.path, "Future")?.find_map(|argument| match argument {
            GenericArgument::AssocType(output) if output.ident == "Output" => Some(&output.ty),
            _ => None,
        }),
        _ => None,
    })
}

/// `T` of a type that is spelled `name<T>`, whatever the path before.
pub(crate) fn argument<'t>(ty: &'t Type, name: &str) -> Option<&'t Type> {
    let Type::Path(ty) = bare(ty) else { return None };
    arguments(&ty.path, name)?.find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn arguments<'p>(path: &'p Path, name: &str) -> Option<impl Iterator<Item = &'p GenericArgument>> {
    let last = path.segments.last().filter(|last| last.ident == name)?;
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) => Some(arguments.args.iter()),
        _ => None,
    }
}
