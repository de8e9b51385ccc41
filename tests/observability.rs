//! What `observability/` says, asked of a real Prometheus: each panel of the dashboard has data, and each alert fires when
//! it should and is silent again after. A program of ours is scraped: this one.
#![warn(clippy::disallowed_types)]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use stampede::tier::memory::{Fault, MemoryTier};
use stampede::{Cache, CircuitOpen, fresh, metrics};

#[path = "observability/prometheus.rs"]
mod prometheus;
#[path = "it/stores.rs"]
mod stores;

use prometheus::Prometheus;
use stores::Store;

const MS: Duration = Duration::from_millis(1);
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/observability");

/// The rules, but for their patience: what is asked of a minute, and waits for minutes, is asked of seconds here.
fn impatient(line: &str) -> String {
    if line.trim_start().starts_with("for: ") { "        for: 500ms".to_owned() } else { line.replace("[1m]", "[2s]") }
}

/// The series that a query comes to, and their values.
fn query(prometheus: &Prometheus, query: &str) -> Vec<f64> {
    let Some(answer) = prometheus.ask("query", &[("query", query)]) else { return Vec::new() };
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
    series
        .iter()
        .filter_map(|series| series["value"][1].as_str()?.parse().ok())
        .filter(|value: &f64| value.is_finite())
        .collect()
}

/// The alerts that fire.
fn firing(prometheus: &Prometheus) -> BTreeSet<String> {
    let answer = prometheus.ask("alerts", &[]).unwrap_or_default();
    let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
    let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
    firing.filter_map(|alert| Some(alert["labels"]["alertname"].as_str()?.to_owned())).collect()
}

/// Waits in the test's own thread; the load has others.
fn until(prometheus: &Prometheus, what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        let is_early = start.elapsed() < Duration::from_secs(40);
        assert!(is_early, "in vain: {what}; {:?} fire\n{}", firing(prometheus), prometheus.log());
        thread::sleep(100 * MS);
    }
}

/// Turns a trouble on, and off again.
type Switch<'t> = &'t (dyn Fn(bool) + Sync);

/// What goes wrong at the moment.
#[derive(Default)]
struct Trouble {
    origin_fails: AtomicBool,
    origin_hangs: AtomicBool,
    too_many_keys: AtomicBool,
}

/// Calls of all kinds, for as long as the test takes.
async fn load(store: Store, trouble: Arc<Trouble>) {
    let is = |trouble: &AtomicBool| trouble.load(Ordering::Relaxed);
    let built = |name: &'static str| Cache::<u64>::builder(name).store(&store);
    let stale = built("stale").ttl(20 * MS).stale_while_revalidate(1000 * MS).retry_after(MS).build();
    let early = built("early").ttl(100 * MS).refresh_ahead(0.2).build();
    let far = built("far").ttl(30 * MS).remote().build();
    let hung = built("hung").ttl(10 * MS).build();
    let guarded: Cache<u64, CircuitOpen> =
        built("guarded").ttl(10 * MS).stale_if_error(60_000 * MS).retry_after(MS).breaker(3, 200 * MS).build();
    for i in 0_u64.. {
        let fails = is(&trouble.origin_fails);
        // Some of the background's fail always, so that its panel has something to show.
        let stale_fails = i.is_multiple_of(31) || fails;
        let body = move || async move {
            tokio::time::sleep(MS).await;
            if stale_fails { Err("no") } else { Ok(i) }
        };
        let _ = tokio::join!(
            stale.try_get_with(&1, body),
            stale.try_get_with(&1, body),
            fresh(early.get_with(&2, || async { 2 }))
        );
        early.get_with(&1, || async { 1 }).await;
        far.get_with(&(i % 3), || async { 1 }).await;
        let _ = guarded.try_get_with(&1, || async move { if fails { Err(Failed) } else { Ok(1) } }).await;
        if is(&trouble.origin_hangs) {
            let (hung, trouble) = (hung.clone(), Arc::clone(&trouble));
            tokio::spawn(async move {
                hung.get_with(&1, || {
                    let trouble = Arc::clone(&trouble);
                    async move {
                        while trouble.origin_hangs.load(Ordering::Relaxed) {
                            tokio::time::sleep(10 * MS).await;
                        }
                        1
                    }
                })
                .await;
            });
        } else {
            hung.get_with(&2, || async { 1 }).await;
        }
        let keys = if is(&trouble.too_many_keys) { i } else { 1 };
        built("many").ttl(60_000 * MS).build().get_with(&keys, || async { 1 }).await;
        tokio::time::sleep(5 * MS).await;
    }
}

#[derive(Clone, Debug)]
struct Failed;

impl From<CircuitOpen> for Failed {
    fn from(_: CircuitOpen) -> Self {
        Self
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panels_have_data_and_alerts_fire() {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&[0.0001, 0.001, 0.01, 0.1, 1.0, 10.0])
        .expect("buckets")
        .install_recorder()
        .expect("the first");
    metrics::describe();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let target = listener.local_addr().expect("an address");
    let page = get(move || std::future::ready(recorder.render()));
    let server = tokio::spawn(axum::serve(listener, Router::new().route("/metrics", page)).into_future());

    let (tier, trouble) = (MemoryTier::new(), Arc::new(Trouble::default()));
    let store = Store::builder().max_entries(60).and(|store| store.remote(tier.clone())).build();
    let load = tokio::spawn(load(store.clone(), Arc::clone(&trouble)));
    let prometheus = Prometheus::start(Path::new(FOLDER), target, "250ms", impatient)
        .expect("`prometheus` starts; on Debian: apt-get install prometheus");
    let prometheus = &prometheus;

    // First the troubles, one after the other: what they leave behind is a part of what the panels show.
    until(prometheus, "calls are scraped", || !query(prometheus, "stampede:calls:rate1m > 0").is_empty());
    let rules = fs::read_to_string(Path::new(FOLDER).join("prometheus/rules.yml")).expect("the rules");
    let mut untried: BTreeSet<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    until(prometheus, "all is quiet", || firing(prometheus).is_empty());
    let troubles: [(&[&str], Switch<'_>); 4] = [
        (&["StampedeBreakerOpen", "StampedeRunsFail"], &|on| trouble.origin_fails.store(on, Ordering::Relaxed)),
        (&["StampedeRunsStuck"], &|on| trouble.origin_hangs.store(on, Ordering::Relaxed)),
        (&["StampedeEvictions"], &|on| trouble.too_many_keys.store(on, Ordering::Relaxed)),
        (&["StampedeTierDown"], &|on| tier.set_fault(if on { Fault::Failing } else { Fault::None })),
    ];
    for (alerts, switch) in troubles {
        switch(true);
        for alert in alerts {
            assert!(untried.remove(alert), "{alert} is no rule");
            until(prometheus, alert, || firing(prometheus).contains(*alert));
        }
        switch(false);
        until(prometheus, "all is quiet again", || firing(prometheus).is_empty());
    }
    assert!(untried.is_empty(), "never seen to fire: {untried:?}");

    // Each panel, and each recording.
    let dashboard =
        fs::read_to_string(Path::new(FOLDER).join("grafana/dashboards/stampede.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(panels.len() >= 13, "{}", panels.len());
    let queries = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries = queries.map(|target| target["expr"].as_str().expect("a query").to_owned());
    let records = rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).map(str::to_owned);
    for asked in queries.chain(records) {
        let asked = asked.replace("$__rate_interval", "1m").replace("$cache", ".*");
        assert!(!asked.contains('$'), "{asked}");
        until(prometheus, &asked, || !query(prometheus, &asked).is_empty());
    }
    let saved = query(prometheus, "sum(stampede:runs_saved:rate1m)");
    assert!(saved[0] > 0.0, "{saved:?}");
    // What Prometheus knows is what the store says, and each name in what we hand out is one of ours.
    for text in [rules, dashboard.to_string()] {
        for name in
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("stampede_"))
        {
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(metrics::ALL.contains(&name), "{name}");
        }
    }
    load.abort();
    let _ = load.await;
    server.abort();
}
