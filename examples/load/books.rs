//! What the exporter tells Prometheus, read as Prometheus reads it. The claims are checked against this, and not against
//! figures that only this program can see.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use stampede::metrics;

use crate::BoxError;

#[derive(Clone)]
pub(crate) struct Books(pub(crate) PrometheusHandle);

impl Books {
    /// Installs the exporter.
    pub(crate) fn open() -> Result<Self, BoxError> {
        let exporter = PrometheusBuilder::new().set_buckets(&[0.0001, 0.001, 0.01, 0.1, 1.0, 10.0])?;
        let books = Self(exporter.install_recorder()?);
        metrics::describe();
        Ok(books)
    }

    /// The sum over all series of this name that bear these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> i64 {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let page = self.0.render();
        let series = page.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once("} "));
        let fitting = series.filter(|(has, _)| labels.iter().all(|label| has.split(',').any(|one| one == label)));
        #[expect(clippy::cast_possible_truncation, reason = "counts, and gauges of counts")]
        fitting.filter_map(|(_, value)| value.parse().ok()).map(|value: f64| value as i64).sum()
    }

    pub(crate) fn calls(&self, cache: &str) -> i64 {
        self.sum(metrics::CALLS, &[("cache", cache)])
    }

    pub(crate) fn calls_that(&self, cache: &str, outcome: &str) -> i64 {
        self.sum(metrics::CALLS, &[("cache", cache), ("outcome", outcome)])
    }

    pub(crate) fn runs(&self, cache: &str) -> i64 {
        self.sum(metrics::RUNS, &[("cache", cache)])
    }

    pub(crate) fn runs_by(&self, cache: &str, label: &str, value: &str) -> i64 {
        self.sum(metrics::RUNS, &[("cache", cache), (label, value)])
    }

    /// How many callers wait for a run.
    pub(crate) fn waiting(&self, cache: &str) -> i64 {
        self.sum(metrics::CALLERS_WAITING, &[("cache", cache)])
    }
}
