//! An invalidation or a write from another process, at every step of a run: nothing older is read afterwards, anywhere.

use crate::fleet::{Answers, Fleet, Run, Setup, until};
use crate::proxy::{Mode, Proxy};
use crate::server::Server;

const OLD: u64 = 1;
const NEW: u64 = 2;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// The tier has granted the lease, and its holder does not know.
    Leased,
    /// The body has begun; it has read what there was.
    Running,
    /// The body has ended, and its value is on its way.
    Sent,
    /// The tier has the value, and its maker does not know.
    Stored,
    /// All is done; others have read it.
    Read,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Invalidate,
    Put,
}

/// The one whose run it is has a link of its own.
struct Scene {
    server: Server,
    link: Proxy,
    fleet: Fleet,
}

impl Scene {
    async fn new() -> Self {
        let server = Server::start();
        let link = Proxy::of(server.port).await;
        let urls = [link.url(), server.url(), server.url()];
        let fleet = Fleet::start_at(&urls, Setup::default()).await;
        let mut scene = Self { server, link, fleet };
        // The server knows the scripts from here on, so that each is one trip.
        let warm_up = scene.fleet.processes[0].call(99, 1);
        scene.fleet.run().await.answer(0);
        warm_up.await.unwrap();
        until(async || scene.has("value")).await;
        scene
    }

    /// Whether a value is kept in Redis, or a lease.
    fn has(&self, what: &str) -> bool {
        let keys: Vec<String> = self.server.ask(&["KEYS", "fleet:{numbers*"]);
        keys.iter().any(|key| key.ends_with(":l") == (what == "lease"))
    }

    async fn plays(&mut self, key: u64, step: Step, change: Change) {
        let _: () = self.server.ask(&["FLUSHALL"]);
        let mut begun: Option<Run> = None;
        if step == Step::Leased {
            self.link.set(Mode::HoldAnswers);
        }
        let mut callers = self.fleet.processes[0].call(key, 10);
        match step {
            Step::Leased => until(async || self.has("lease")).await,
            Step::Running => begun = Some(self.fleet.run().await),
            Step::Sent => {
                let run = self.fleet.run().await;
                self.link.set(Mode::HoldQuestions);
                run.answer(OLD);
                (&mut callers).await.unwrap().assert_all(10, OLD);
            }
            Step::Stored => {
                let run = self.fleet.run().await;
                self.link.set(Mode::HoldAnswers);
                run.answer(OLD);
                until(async || self.has("value")).await;
            }
            Step::Read => {
                self.fleet.run().await.answer(OLD);
                (&mut callers).await.unwrap().assert_all(10, OLD);
                for process in &self.fleet.processes[1..] {
                    until(async || process.get(key).await == Some(OLD)).await;
                }
            }
        }

        // The origin changes, and then this is said, by another process.
        match change {
            Change::Invalidate => assert!(self.fleet.processes[1].invalidate(key).await),
            Change::Put => self.fleet.processes[1].put(key, NEW).await,
        }
        self.link.set(Mode::Pass);
        if let Some(run) = begun {
            run.answer(OLD); // as the body has read it
        }
        if step == Step::Leased {
            // This run has begun after the change.
            self.fleet.run().await.answer(NEW);
        }
        if !callers.is_finished() {
            // Whatever they got: they had called before.
            callers.await.unwrap();
        }

        // As soon as the news is there, which is at once but for who has lost its link:
        for process in &self.fleet.processes {
            until(async || process.get(key).await != Some(OLD)).await;
        }
        // It does not come back.
        for _ in 0..2 {
            for number in 0..3 {
                let call = self.fleet.processes[number].call(key, 10);
                let mut answers = std::pin::pin!(call);
                let answers: Answers = loop {
                    match self.fleet.run_before(&mut answers).await {
                        Ok(run) => run.answer(NEW),
                        Err(answers) => break answers.unwrap(),
                    }
                };
                answers.assert_all(10, NEW);
            }
        }
    }
}

async fn at_every_step(change: Change) {
    let mut scene = Scene::new().await;
    for (key, step) in (0..).zip([Step::Leased, Step::Running, Step::Sent, Step::Stored, Step::Read]) {
        println!("{change:?} at {step:?}");
        scene.plays(key, step, change).await;
    }
}

#[tokio::test]
async fn an_invalidation_elsewhere_wins_at_every_step() {
    at_every_step(Change::Invalidate).await;
}

#[tokio::test]
async fn a_write_elsewhere_wins_at_every_step() {
    at_every_step(Change::Put).await;
}
