//! What an unsafe request makes void.

use std::sync::Arc;

use http::request::Parts;
use tokio::runtime::Handle;

use crate::config::Config;
use crate::key::{Class, RequestKey};

/// A URL that is being written to. What is stored for it is void in the end, unless the handler has said that nothing was
/// written: also if its caller is gone, or it died, and nobody knows how far it has come.
pub(crate) struct Voiding(Option<Url>);

struct Url {
    config: Arc<Config>,
    keys: Vec<RequestKey<'static>>,
    /// Where it may have other entries than these.
    tag: Option<String>,
}

impl Voiding {
    pub(crate) fn new(config: &Arc<Config>, request: &Parts) -> Self {
        let key = config.key(request, Class::Get, bytes::Bytes::new()).into_owned();
        let tag = config.has_variants().then(|| config.url_tag(request));
        Self(Some(Url { config: Arc::clone(config), keys: key.of_readers(), tag }))
    }

    /// Now.
    pub(crate) async fn void(&mut self) {
        if let Some(url) = &self.0 {
            url.void().await;
        }
        self.0 = None;
    }

    /// Nothing was written.
    pub(crate) fn leave(&mut self) {
        self.0 = None;
    }
}

impl Url {
    async fn void(&self) {
        let responses = self.config.responses();
        for key in &self.keys {
            responses.entry(key).invalidate().await;
        }
        if let Some(tag) = &self.tag {
            self.config.store().invalidate_tag(tag).await;
        }
    }
}

impl Drop for Voiding {
    fn drop(&mut self) {
        if let Some(url) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { url.void().await });
        }
    }
}
