//! The policy as a table.

use std::time::Duration;

use super::circuit::{Change, Circuit, Report, Trip};
use super::*;

const MODES: [Mode; 4] = [Mode::Normal, Mode::NoStale, Mode::Fresh, Mode::Uncached];
const AGES: [Age; 6] = [Age::Fresh, Age::Due, Age::Stale, Age::Reserve, Age::Unvouched, Age::Dead];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn terms(change: impl FnOnce(&mut Terms)) -> Terms {
    let mut terms = Terms { ttl: ms(5_000), ..Terms::DEFAULT };
    change(&mut terms);
    terms
}

fn life(terms: &Terms, run_time: Duration, u: f64) -> (Instant, Lifetime) {
    let start = Instant::now();
    (start, Lifetime::starting(start, terms.ttl, terms, run_time, || u))
}

/// A life without chance.
fn plain(change: impl FnOnce(&mut Terms)) -> (Instant, Lifetime) {
    life(&terms(change), Duration::ZERO, 1.0)
}

fn ages(start: Instant, life: &Lifetime, table: &[(u64, Age)]) {
    for (at, age) in table {
        assert_eq!(life.at(start + ms(*at), || unreachable!("no chance here")), *age, "at {at} ms");
    }
}

#[test]
fn what_a_call_does() {
    use Age::{Dead, Due, Fresh, Reserve, Stale, Unvouched};
    use Step::{Answer, Refresh, Run};
    // Fresh, Due, Stale, Reserve, Unvouched, Dead.
    let table = [
        (Mode::Normal, false, [Answer, Refresh, Refresh, Run, Run, Run]),
        (Mode::Normal, true, [Answer, Answer, Answer, Answer, Run, Run]),
        (Mode::NoStale, false, [Answer, Refresh, Run, Run, Run, Run]),
        (Mode::NoStale, true, [Answer, Answer, Run, Run, Run, Run]),
        (Mode::Fresh, false, [Run; 6]),
        (Mode::Fresh, true, [Run; 6]),
        (Mode::Uncached, false, [Run; 6]),
        (Mode::Uncached, true, [Run; 6]),
    ];
    for (mode, put_off, steps) in table {
        for (age, expected) in [Fresh, Due, Stale, Reserve, Unvouched, Dead].into_iter().zip(steps) {
            assert_eq!(step(age, mode, put_off), expected, "{mode:?}, {age:?}, put off: {put_off}");
        }
    }
}

#[test]
fn what_makes_up_for_a_run() {
    let (_, covered) = plain(|terms| terms.stale_if_error = ms(1));
    let (_, bare) = plain(|terms| terms.stale_while_revalidate = ms(1));
    for mode in MODES {
        for age in AGES {
            for refreshes in [false, true] {
                for (life, covers) in [(&covered, true), (&bare, false)] {
                    let expected = match (mode, age) {
                        (Mode::Fresh | Mode::Uncached, _)
                        | (_, Age::Unvouched | Age::Dead)
                        | (Mode::NoStale, Age::Stale | Age::Reserve) => false,
                        (Mode::Normal, Age::Stale | Age::Reserve) => true,
                        (Mode::Normal, Age::Fresh | Age::Due) => refreshes || covers,
                        (Mode::NoStale, Age::Fresh | Age::Due) => refreshes,
                    };
                    let case = format!("{mode:?}, {age:?}, refreshes: {refreshes}, covers: {covers}");
                    assert_eq!(makes_up(age, mode, refreshes, life), expected, "{case}");
                }
            }
        }
    }
}

#[test]
fn a_value_ages() {
    use Age::{Dead, Due, Fresh, Reserve, Stale};
    let (start, life) = plain(|_| {});
    ages(start, &life, &[(0, Fresh), (4_999, Fresh), (5_000, Dead)]);

    let (start, life) = plain(|terms| terms.stale_while_revalidate = ms(3_000));
    ages(start, &life, &[(4_999, Fresh), (5_000, Stale), (7_999, Stale), (8_000, Dead)]);
    assert_eq!(life.dead_at(), start + ms(8_000));

    let (start, life) = plain(|terms| terms.stale_if_error = ms(3_000));
    ages(start, &life, &[(4_999, Fresh), (5_000, Reserve), (7_999, Reserve), (8_000, Dead)]);

    let (start, life) = plain(|terms| {
        (terms.stale_while_revalidate, terms.stale_if_error) = (ms(2_000), ms(3_000));
    });
    ages(start, &life, &[(5_000, Stale), (6_999, Stale), (7_000, Reserve), (7_999, Reserve), (8_000, Dead)]);

    let (start, life) = plain(|terms| {
        (terms.stale_while_revalidate, terms.stale_if_error) = (ms(3_000), ms(2_000));
    });
    ages(start, &life, &[(5_000, Stale), (7_999, Stale), (8_000, Dead)]);

    let (start, life) = plain(|terms| terms.refresh_ahead = 0.8);
    ages(start, &life, &[(0, Fresh), (3_999, Fresh), (4_001, Due), (4_999, Due), (5_000, Dead)]);
}

#[test]
fn endless_durations_do_not_overflow() {
    let (start, life) = plain(|terms| {
        let forever = Duration::MAX;
        (terms.ttl, terms.stale_while_revalidate, terms.stale_if_error) = (forever, forever, forever);
        (terms.refresh_ahead, terms.jitter) = (0.5, 0.5);
    });
    assert_eq!(life.at(start + Duration::from_hours(10 * 365 * 24), || 1.0), Age::Fresh);
    let (start, life) = self::life(&terms(|terms| terms.xfetch = f64::MAX), Duration::MAX, 1.0);
    assert_eq!(life.at(start, || 0.5), Age::Due);
}

#[test]
fn jitter_only_subtracts() {
    for (u, ttl) in [(1.0, 5_000), (0.5, 4_500), (f64::MIN_POSITIVE, 4_000)] {
        let (start, life) = life(&terms(|terms| terms.jitter = 0.2), Duration::ZERO, u);
        assert_eq!(life.fresh_until, start + ms(ttl), "{u}");
    }
    // The early refresh goes by what is left, and the windows begin at its end.
    let terms = terms(|terms| {
        (terms.jitter, terms.refresh_ahead, terms.stale_if_error) = (0.2, 0.5, ms(1_000));
    });
    let (start, life) = life(&terms, Duration::ZERO, 0.5);
    ages(
        start,
        &life,
        &[(2_249, Age::Fresh), (2_251, Age::Due), (4_499, Age::Due), (4_500, Age::Reserve), (5_500, Age::Dead)],
    );
}

/// A generator whose numbers are always the same: one of the test's own.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 32).expect("32 bits") / 2 + 1) / f64::from(1_u32 << 31)
    }
}

#[test]
fn early_refreshes_come_at_the_rate_of_the_paper() {
    // Interpreted, a few are enough to see that it does what it may.
    const DRAWS: u32 = if cfg!(miri) { 10 } else { 100_000 };
    let tolerance = if cfg!(miri) { 1.0 } else { 0.02 };
    let mut draws = Draws(0x5eed);
    for (beta, run_time) in [(1.0, ms(100)), (2.0, ms(100)), (0.5, ms(400)), (1.0, ms(1_000))] {
        let (start, life) = life(&terms(|terms| terms.xfetch = beta), run_time, 1.0);
        for distance in [1, 20, 50, 100, 200, 400, 800, 1_600, 3_200] {
            let now = start + ms(5_000 - distance);
            let fired = (0..DRAWS).filter(|_| life.at(now, || draws.next()) == Age::Due).count();
            let rate = f64::from(u32::try_from(fired).expect("few")) / f64::from(DRAWS);
            let expected = (-ms(distance).as_secs_f64() / (beta * run_time.as_secs_f64())).exp();
            assert!(
                (rate - expected).abs() < tolerance,
                "β {beta}, δ {run_time:?}, r {distance}: {rate}, not {expected}"
            );
        }
        assert_eq!(life.at(start + ms(5_000), || unreachable!("expired")), Age::Dead);
    }
}

#[test]
fn xfetch_is_exact_at_its_edge() {
    // δ·β·−ln(u) is a second for u = 1/e.
    let (start, life) = life(&terms(|terms| terms.xfetch = 1.0), ms(1_000), 1.0);
    let u = (-1.0_f64).exp();
    assert_eq!(life.at(start + ms(3_999), || u), Age::Fresh);
    assert_eq!(life.at(start + ms(4_001), || u), Age::Due);
    assert_eq!(life.at(start + ms(4_999), || 1.0), Age::Fresh, "ln 1 is nothing");
}

#[test]
fn a_breaker_goes_its_ways() {
    let trip = Trip { failures: 2, reset_after: ms(100) };
    let start = Instant::now();
    let at = |millis| start + ms(millis);
    let limit = ms(50);
    let mut circuit = Circuit::default();
    let admit = |circuit: &mut Circuit, now| circuit.admit(at(now), limit);

    // Closed: a success in between starts anew.
    for (report, change) in [
        (Report::Failure, None),
        (Report::Lost, None),
        (Report::Success, None),
        (Report::Failure, None),
        (Report::Lost, None),
        (Report::Failure, Some(Change::Opened)),
    ] {
        let (number, _) = admit(&mut circuit, 0).expect("closed");
        assert_eq!(circuit.report(number, report, at(0), trip), change, "{report:?}");
    }
    // Open, and deaf to what began before.
    assert_eq!(admit(&mut circuit, 99), None);
    assert_eq!(circuit.report(0, Report::Success, at(99), trip), None);
    assert_eq!(admit(&mut circuit, 99), None);
    // Half-open: one probe. Lost, it makes room for another.
    let (probe, change) = admit(&mut circuit, 100).expect("a probe");
    assert_eq!((change, admit(&mut circuit, 100)), (Some(Change::HalfOpened), None));
    assert_eq!(circuit.report(probe, Report::Lost, at(100), trip), None);
    let (probe, _) = admit(&mut circuit, 100).expect("another");
    // Silent until its limit, it is given up.
    assert_eq!(admit(&mut circuit, 149), None);
    let (second, _) = admit(&mut circuit, 150).expect("a third");
    assert_eq!(circuit.report(probe, Report::Success, at(150), trip), None, "too late");
    assert_eq!(admit(&mut circuit, 150), None);
    // One failure is enough.
    assert_eq!(circuit.report(second, Report::Failure, at(150), trip), Some(Change::Opened));
    assert_eq!(admit(&mut circuit, 249), None);
    let (probe, _) = admit(&mut circuit, 250).expect("a probe");
    assert_eq!(circuit.report(probe, Report::Success, at(250), trip), Some(Change::Closed));
    assert!(admit(&mut circuit, 250).is_some() && admit(&mut circuit, 250).is_some());
}
