//! How many runs there are.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::fleet::{Fleet, Setup};
use crate::server::Server;

#[tokio::main]
pub(crate) async fn a_process_does_without_others() {
    let server = Server::start();
    let mut fleet = Fleet::start(&server.url(), 1, Setup::default()).await;
    let call = fleet.processes[0].call(1, 200);
    fleet.run().await.answer(71);
    call.await.unwrap().assert_all(200, 71);
    assert_eq!(fleet.processes[0].get(1).await, Some(71));
    fleet.assert_no_run().await;
}

#[tokio::test]
async fn a_cold_key_is_one_run_of_the_fleet() {
    let server = Server::start();
    let mut fleet = Fleet::start(&server.url(), 8, Setup::default()).await;
    for (key, all_wait) in [(1, true), (2, false)] {
        let calls: Vec<_> = fleet.processes.iter().map(|process| process.call(key, 200)).collect();
        let run = fleet.run().await;
        for (number, process) in fleet.processes.iter().enumerate() {
            if all_wait && number != run.process {
                process.follows().await;
            }
        }
        run.answer(70 + key);
        for call in calls {
            call.await.unwrap().assert_all(200, 70 + key);
        }
        fleet.assert_no_run().await;
    }
}

#[tokio::test]
async fn keys_that_expire_at_once_are_one_run_per_ttl_each() {
    const KEYS: u64 = 100;
    const TTL: Duration = Duration::from_secs(1);
    const TIME: Duration = Duration::from_secs(20);

    let server = Server::start();
    let mut fleet = Fleet::start(&server.url(), 8, Setup { ttl: TTL, ..Setup::default() }).await;
    let calls: Vec<_> = fleet.processes.iter().map(|process| process.hammer(KEYS, TIME)).collect();
    let done = futures_util::future::join_all(calls);
    let mut done = std::pin::pin!(done);
    let mut runs: HashMap<u64, Vec<Instant>> = HashMap::new();
    let results = loop {
        match fleet.run_before(&mut done).await {
            Ok(run) => {
                runs.entry(run.key).or_default().push(run.at);
                run.answer(1);
            }
            Err(results) => break results,
        }
    };
    let (calls, errors) =
        results.into_iter().map(Result::unwrap).fold((0, 0), |(calls, errors), one| (calls + one.0, errors + one.1));
    assert_eq!(errors, 0);
    assert_eq!(runs.len() as u64, KEYS);
    let gaps = || runs.values().flat_map(|runs| runs.windows(2).map(|pair| pair[1] - pair[0]));
    let closest = gaps().min().unwrap();
    let total: usize = runs.values().map(Vec::len).sum();
    println!("{calls} calls, {total} runs of {KEYS} keys in {TIME:?}; the closest two of a key: {closest:?}");
    // A copy is renewed early by no more than it took to get here; two runs for one end of a TTL come together.
    assert!(closest > TTL / 2, "two runs within {closest:?}");
    assert!(runs.values().all(|runs| runs.len() as u64 > TIME.as_secs() / 2), "every key goes on expiring");
}
