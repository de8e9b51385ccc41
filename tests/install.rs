//! The process's store. Each case has a process of its own: this program, told which.
#![warn(clippy::disallowed_types)]

use std::process::Command;

use stampede::coalesce;

#[path = "it/stores.rs"]
mod stores;

use stores::Store;

#[coalesce(ttl = "1m")]
async fn double(n: u64) -> u64 {
    n * 2
}

const CASE: &str = "STAMPEDE_TEST_CASE";

/// Runs a test as the only one of a new process; there, runs its body.
fn in_a_process(name: &str, body: impl Future<Output = ()>) {
    if std::env::var(CASE).is_ok_and(|case| case == name) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        return runtime.block_on(body);
    }
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).args(["--exact", name, "--nocapture"]).env(CASE, name).output();
    let output = output.expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

macro_rules! cases {
    ($($name:ident $body:block)*) => {$(
        #[test]
        fn $name() {
            in_a_process(stringify!($name), async $body);
        }
    )*};
}

cases! {
    an_installed_store_is_in_force {
        let store = Store::builder().max_entries(5).build();
        store.clone().install().expect("the first");
        assert_eq!(double(2).await, 4);
        let task = tokio::spawn(async { double(2).await });
        assert_eq!(task.await.expect("no panic"), 4);
        let stats = store.stats();
        assert_eq!((stats.calls.miss, stats.calls.fresh, Store::current().stats()), (1, 1, stats));
        // A scope goes before it.
        let scoped = Store::default();
        assert_eq!(scoped.scope(double(2)).await, 4);
        assert_eq!((scoped.stats().calls.miss, store.stats()), (1, stats));
    }

    a_second_one_is_refused {
        let (first, second) = (Store::default(), Store::default());
        first.clone().install().expect("the first");
        let error = second.install().expect_err("there is one");
        assert!(error.to_string().contains("has a store already"), "{error}");
        assert!(format!("{error:?}").contains("InstallError"));
        assert_eq!(error.into_store().scope(double(1)).await, 2, "it is given back");
        assert_eq!((double(1).await, first.stats().calls.miss), (2, 1), "the first stays");
    }

    one_that_comes_too_late_is_refused {
        assert_eq!(double(1).await, 2);
        let late = Store::default();
        late.clone().install().expect_err("the default is in use");
        assert_eq!((double(1).await, late.stats().calls.total()), (2, 0));
        assert_eq!(Store::current().stats().calls.fresh, 1);
    }

    asking_for_the_current_one_is_a_use {
        assert_eq!(Store::current().stats().entries, 0);
        Store::default().install().expect_err("the default is in use");
    }

    calls_in_scopes_are_no_use_of_it {
        assert_eq!(Store::default().scope(double(1)).await, 2);
        Store::default().install().expect("nobody has used the default");
    }
}
