//! Where generated code seems to stand.

use std::sync::OnceLock;

use proc_macro2::{Span, TokenStream, TokenTree};

/// A place in the user's code for what is generated: there the compiler's messages point. An editor would take all that it
/// finds there for a meaning of what is written, so for an editor it is the attribute.
pub(crate) fn at(span: Span) -> Span {
    if in_editor() { Span::call_site() } else { Span::call_site().located_at(span) }
}

/// A name of the user's, for generated code to use: not one more place where the user did.
pub(crate) fn mention(name: TokenStream) -> TokenStream {
    let token = |mut token: TokenTree| {
        if in_editor() {
            token.set_span(Span::call_site().resolved_at(token.span()));
        }
        token
    };
    name.into_iter().map(token).collect()
}

/// Whether the expansion is for rust-analyzer. A wrong answer costs nothing but the places of messages.
fn in_editor() -> bool {
    static IN_EDITOR: OnceLock<bool> = OnceLock::new();
    *IN_EDITOR.get_or_init(|| std::env::var_os("RUST_ANALYZER_INTERNALS_DO_NOT_USE").is_some())
}
