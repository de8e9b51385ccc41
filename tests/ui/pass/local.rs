//! Bodies that stay on their thread.

use std::cell::Cell;
use std::rc::Rc;

use stampede::coalesce;
use tokio::task::LocalSet;

use super::run;

/// Holds an `Rc` while it waits.
#[coalesce(ttl = "5s", key = "id", inline)]
#[allow(clippy::future_not_send, reason = "that is the point")]
async fn local(runs: Rc<Cell<u32>>, id: u8) -> u8 {
    let held = Rc::new(id);
    runs.set(runs.get() + 1);
    tokio::task::yield_now().await;
    *held
}

#[test]
fn they_run_in_their_callers_task() {
    run(LocalSet::new().run_until(async {
        let runs = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..3).map(|_| tokio::task::spawn_local(local(Rc::clone(&runs), 7))).collect();
        for task in tasks {
            assert_eq!(task.await.expect("no panic"), 7);
        }
        assert_eq!(runs.get(), 1);
    }));
}
