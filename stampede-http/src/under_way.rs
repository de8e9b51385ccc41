//! Bodies on their way after the run of the cache has ended: where they can be found if the store has no room for them.
//!
//! The store may let go of anything, and what is on its way is not to be run twice. So there is a list of it, which is as
//! long as there are such bodies, and is looked into by those who would lead a run otherwise. It holds nobody's interest: a
//! body that nothing else holds is given up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use stampede_runtime::__hosting::{self, Fence};

use crate::config::Config;
use crate::exchange::{Exchange, RunId};
use crate::key::RequestKey;

#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<HashMap<Arc<RequestKey<'static>>, Body>>);

#[derive(Debug)]
struct Body {
    run: RunId,
    exchange: Weak<Exchange>,
    /// When its run began.
    since: Fence,
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<RequestKey<'static>>, Body>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run of this key begins: what is there is of an older one.
    pub(crate) fn forget(&self, key: &RequestKey<'static>) {
        self.lock().remove(key);
    }
}

impl Config {
    /// The body under way that a request of this key may follow. What has come to its end is in the store, or not to be had.
    pub(crate) fn under_way_for(&self, key: &RequestKey<'static>) -> Option<Arc<Exchange>> {
        let (exchange, since) = {
            let list = self.under_way().lock();
            let body = list.get(key)?;
            (body.exchange.upgrade()?, body.since)
        };
        let may_join = exchange.stream.is_growing() && __hosting::may_join(self.responses(), key, &since);
        may_join.then_some(exchange)
    }
}

/// A body in the list, until this is dropped.
pub(crate) struct Listed {
    config: Arc<Config>,
    key: Arc<RequestKey<'static>>,
    run: RunId,
}

impl Listed {
    pub(crate) fn new(
        config: &Arc<Config>,
        key: &Arc<RequestKey<'static>>,
        exchange: &Arc<Exchange>,
        since: Fence,
    ) -> Self {
        let (run, exchange) = (exchange.run, Arc::downgrade(exchange));
        config.under_way().lock().insert(Arc::clone(key), Body { run, exchange, since });
        Self { config: Arc::clone(config), key: Arc::clone(key), run }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut list = self.config.under_way().lock();
        if list.get(&self.key).is_some_and(|body| body.run == self.run) {
            list.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Class;
    use crate::stream::Stream;
    use crate::verdict::{Verdict, judge};
    use bytes::Bytes;
    use http::{Request, Response};

    #[test]
    fn the_list_is_as_long_as_there_are_bodies() {
        let config = Arc::new(Config::new(std::time::Duration::from_secs(1)));
        let request = Request::get("/").body(()).expect("a request").into_parts().0;
        let key = Arc::new(config.key(&request, Class::Get, Bytes::new()).into_owned());
        let head = Response::new(()).into_parts().0;
        let Verdict::Shared(terms) = judge(&head, &config, None, None) else { panic!("it is for all") };
        let body = |run| {
            let stream = Arc::new(Stream::new(1000));
            let exchange = Arc::new(Exchange::new(run, &head, stream, None, &config, &key, &terms));
            let since = __hosting::fence(config.responses(), &*key).expect("a fence");
            (Listed::new(&config, &key, &exchange, since), exchange)
        };
        let found = || config.under_way_for(&key).map(|exchange| exchange.run);
        let (older, younger) = (RunId::next(), RunId::next());
        let (listed, exchange) = body(older);
        assert_eq!(found(), Some(older));
        let (another, other) = body(younger);
        drop(listed);
        assert_eq!(found(), Some(younger), "who comes later stays");
        drop((exchange, other));
        assert_eq!(found(), None, "the list holds no body");
        drop(another);
        assert_eq!(config.under_way().lock().len(), 0);
    }
}
