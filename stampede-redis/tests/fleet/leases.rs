//! Holders of leases that die, stop and fail.

use std::time::{Duration, Instant};

use crate::fleet::{Fleet, Run, Setup, until};
use crate::server::Server;

const LEASE: Duration = Duration::from_secs(1);

/// How long the only lease that there is stands yet.
fn left(server: &Server) -> Duration {
    let leases: Vec<String> = server.ask(&["KEYS", "*:l"]);
    assert_eq!(leases.len(), 1, "{leases:?}");
    Duration::from_millis(server.ask::<i64>(&["PTTL", &leases[0]]).try_into().unwrap())
}

#[tokio::test]
async fn a_killed_holder_is_replaced_once_as_its_lease_ends() {
    let server = Server::start();
    let mut fleet = Fleet::start(&server.url(), 4, Setup { lease: LEASE, ..Setup::default() }).await;
    fleet.processes[0].call(7, 10);
    let _lost: Run = fleet.run().await;
    let calls: Vec<_> = fleet.processes[1..].iter().map(|process| process.call(7, 10)).collect();
    for process in &fleet.processes[1..] {
        process.follows().await;
    }
    fleet.processes[0].kill();
    let (died, left) = (Instant::now(), left(&server));
    let run = fleet.run().await;
    assert!(run.at - died < left + Duration::from_millis(100), "{:?} of {left:?}", run.at - died);
    assert!(run.at - died + Duration::from_millis(5) > left, "{:?} of {left:?}", run.at - died);
    run.answer(2);
    for call in calls {
        call.await.unwrap().assert_all(10, 2);
    }
    fleet.assert_no_run().await;
}

#[tokio::test]
async fn a_holder_that_was_stopped_past_its_lease_comes_too_late() {
    let server = Server::start();
    let mut fleet = Fleet::start(&server.url(), 3, Setup { lease: LEASE, ..Setup::default() }).await;
    let old = fleet.processes[0].call(7, 10);
    let slow = fleet.run().await;
    let new = fleet.processes[1].call(7, 10);
    fleet.processes[1].follows().await;
    fleet.processes[0].pause();
    fleet.run().await.answer(2);
    new.await.unwrap().assert_all(10, 2);
    until(async || fleet.processes[2].get(7).await == Some(2)).await;

    slow.answer(1);
    fleet.processes[0].resume();
    old.await.unwrap().assert_all(10, 1);
    until(async || fleet.processes[0].tier().await.refused == 1).await;
    // Its memory lets go of what was refused, too.
    until(async || fleet.processes[0].get(7).await == Some(2)).await;
    for process in &fleet.processes {
        process.call(7, 10).await.unwrap().assert_all(10, 2);
    }
    fleet.assert_no_run().await;
}

#[tokio::test]
async fn a_holder_that_only_takes_its_time_keeps_its_lease() {
    let server = Server::start();
    let setup = Setup { lease: Duration::from_millis(300), ..Setup::default() };
    let mut fleet = Fleet::start(&server.url(), 2, setup).await;
    let first = fleet.processes[0].call(7, 1);
    let run = fleet.run().await;
    let second = fleet.processes[1].call(7, 1);
    // Four leases long: what is shown is that time passes and nothing happens.
    let Err(()) = fleet.run_before(tokio::time::sleep(setup.lease * 4)).await else { panic!("a second run") };
    run.answer(1);
    first.await.unwrap().assert_all(1, 1);
    second.await.unwrap().assert_all(1, 1);
    fleet.assert_no_run().await;
}

#[tokio::test]
async fn a_failing_holder_leads_no_convoy() {
    let server = Server::start();
    let mut fleet = Fleet::start(&server.url(), 6, Setup::default()).await;
    let mut calls = vec![fleet.processes[0].call(7, 10)];
    let first = fleet.run().await;
    for process in &fleet.processes[1..] {
        calls.push(process.call(7, 10));
        process.follows().await;
    }
    first.fail();
    // All others run, and at once: none of these has an answer yet.
    let mut runs = Vec::new();
    for _ in 1..6 {
        runs.push(fleet.run().await);
    }
    let mut processes: Vec<usize> = runs.iter().map(|run| run.process).collect();
    processes.sort_unstable();
    assert_eq!(processes, [1, 2, 3, 4, 5]);
    runs.into_iter().for_each(Run::fail);
    for call in calls {
        call.await.unwrap().assert_all_failed(10);
    }
    fleet.assert_no_run().await;
    // The key is free again, for one.
    let calls: Vec<_> = fleet.processes.iter().map(|process| process.call(7, 10)).collect();
    fleet.run().await.answer(8);
    for call in calls {
        call.await.unwrap().assert_all(10, 8);
    }
    fleet.assert_no_run().await;
}
