//! A server that is sick in every way: calls answer as with memory alone, and it is found out that it has recovered.

use std::time::{Duration, Instant};

use crate::fleet::{Fleet, Setup, until};
use crate::proxy::{Mode, Proxy};
use crate::server::Server;

/// The tier's share of a call, as it is usual.
const LIMIT: Duration = Duration::from_millis(250);
/// What a busy machine may add. Less than the limit, so that who waits for the tier is found out.
const SLACK: Duration = Duration::from_millis(200);
const RECOVERY: Duration = Duration::from_secs(5);

struct Scene {
    server: Server,
    link: Proxy,
    fleet: Fleet,
}

impl Scene {
    async fn new() -> Self {
        let server = Server::start();
        let link = Proxy::of(server.port).await;
        let setup = Setup { time_limit: LIMIT, ..Setup::default() };
        let fleet = Fleet::start(&link.url(), 2, setup).await;
        Self { server, link, fleet }
    }

    /// All processes call for a key that nobody has. Gives how many runs that took.
    async fn call_all(&mut self, key: u64, limit: Duration) -> usize {
        let calls: Vec<_> = self.fleet.processes.iter().map(|process| process.call(key, 20)).collect();
        let mut done = std::pin::pin!(futures_util::future::join_all(calls));
        let mut runs = 0;
        let answers = loop {
            match self.fleet.run_before(&mut done).await {
                Ok(run) => {
                    assert_eq!(run.key, key);
                    runs += 1;
                    run.answer(100 + key);
                }
                Err(answers) => break answers,
            }
        };
        for answers in answers {
            let answers = answers.unwrap();
            answers.assert_all(20, 100 + key);
            assert!(answers.longest < limit + SLACK, "{:?} for key {key}, after {runs} runs", answers.longest);
        }
        runs
    }

    async fn all_well(&self) -> bool {
        for process in &self.fleet.processes {
            if !process.tier().await.is_well {
                return false;
            }
        }
        true
    }

    async fn outlives(mut self, strike: impl FnOnce(&mut Server, &Proxy), heal: impl FnOnce(&mut Server, &Proxy)) {
        let easy = Duration::from_secs(5);
        assert_eq!(self.call_all(0, easy).await, 1, "the fleet shares");
        strike(&mut self.server, &self.link);

        // The first calls find it out; each waits for its share of the tier at most. In a process they share a run, still.
        let mut key = 1;
        while self.fleet.processes[0].tier().await.is_well || self.fleet.processes[1].tier().await.is_well {
            assert!(key < 10, "nobody finds it out");
            assert!((1..=2).contains(&self.call_all(key, LIMIT).await));
            key += 1;
        }
        // Then nobody waits for it.
        for key in key..key + 20 {
            assert_eq!(self.call_all(key, Duration::ZERO).await, 2);
        }
        // What memory has is trusted.
        assert_eq!(self.call_all(0, Duration::ZERO).await, 0);
        // What it cannot be told is not lost, nor is it said to be there.
        assert!(!self.fleet.processes[0].invalidate(0).await);

        heal(&mut self.server, &self.link);
        let healed = Instant::now();
        until(async || self.all_well().await).await;
        assert!(healed.elapsed() < RECOVERY, "{:?}", healed.elapsed());
        println!("it is found again after {:?}", healed.elapsed());
        // What was said meanwhile has reached everybody. One of them runs, for all.
        until(async || self.fleet.processes[1].get(0).await.is_none()).await;
        assert_eq!(self.call_all(0, easy).await, 1);
        assert_eq!(self.call_all(100, easy).await, 1);
        for process in &self.fleet.processes {
            assert!(process.tier().await.outages >= 1);
        }
    }
}

#[tokio::test]
async fn killed() {
    Scene::new().await.outlives(|server, _| server.kill(), |server, _| server.restart()).await;
}

#[tokio::test]
async fn stopped() {
    Scene::new().await.outlives(|server, _| server.pause(), |server, _| server.resume()).await;
}

#[tokio::test]
async fn read_only() {
    let strike = |server: &mut Server, _: &Proxy| server.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let heal = |server: &mut Server, _: &Proxy| server.ask(&["REPLICAOF", "NO", "ONE"]);
    Scene::new().await.outlives(strike, heal).await;
}

#[tokio::test]
async fn out_of_memory() {
    let strike = |server: &mut Server, _: &Proxy| server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let heal = |server: &mut Server, _: &Proxy| server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    Scene::new().await.outlives(strike, heal).await;
}

#[tokio::test]
async fn slow_by_five_seconds() {
    let strike = |_: &mut Server, link: &Proxy| link.set(Mode::Delay(Duration::from_secs(5)));
    Scene::new().await.outlives(strike, |_, link| link.set(Mode::Pass)).await;
}

#[tokio::test]
async fn answering_garbage() {
    let strike = |_: &mut Server, link: &Proxy| link.set(Mode::Babble);
    Scene::new().await.outlives(strike, |_, link| link.set(Mode::Pass)).await;
}

#[tokio::test]
async fn behind_a_network_that_swallows() {
    let strike = |_: &mut Server, link: &Proxy| link.set(Mode::Swallow);
    Scene::new().await.outlives(strike, |_, link| link.set(Mode::Pass)).await;
}

/// Whoever waits for the run of another process when it happens is on its own, too, as soon as the link is known to be lost.
#[tokio::test]
async fn killed_while_somebody_waits_for_another_process() {
    frees_those_who_wait(Server::kill, LIMIT).await;
}

#[tokio::test]
async fn stopped_while_somebody_waits_for_another_process() {
    frees_those_who_wait(|server| server.pause(), Duration::from_secs(2) + LIMIT).await;
}

async fn frees_those_who_wait(strike: impl FnOnce(&mut Server), limit: Duration) {
    let mut scene = Scene::new().await;
    let first = scene.fleet.processes[0].call(7, 20);
    let run = scene.fleet.run().await;
    let second = scene.fleet.processes[1].call(7, 20);
    scene.fleet.processes[1].follows().await;
    strike(&mut scene.server);
    let struck = Instant::now();
    let own = scene.fleet.run().await;
    assert!(own.process == 1 && own.at - struck < limit + SLACK, "{:?}", own.at - struck);
    run.answer(1);
    own.answer(2);
    first.await.unwrap().assert_all(20, 1);
    second.await.unwrap().assert_all(20, 2);
    // What was made meanwhile is in use where it was made.
    assert_eq!(scene.fleet.processes[0].get(7).await, Some(1));
    assert_eq!(scene.fleet.processes[1].get(7).await, Some(2));
}

/// It comes back before anybody knows that it was away.
#[tokio::test]
async fn restarted_empty() {
    let mut scene = Scene::new().await;
    let easy = Duration::from_secs(5);
    assert_eq!(scene.call_all(0, easy).await, 1);
    scene.server.restart();
    // Memory is trusted, or one makes the value anew.
    assert!(scene.call_all(0, LIMIT).await <= 2);
    until(async || scene.all_well().await).await;
    // Before the link for commands is there again, a process is on its own. After that, the fleet shares.
    let restarted = Instant::now();
    let mut key = 1;
    while scene.call_all(key, LIMIT).await != 1 {
        assert!(restarted.elapsed() < RECOVERY, "nobody finds it again");
        key += 1;
    }
    for key in key + 1..key + 10 {
        assert_eq!(scene.call_all(key, easy).await, 1);
    }
}
