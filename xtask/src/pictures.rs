//! The pictures of the README, drawn from what the programs of this repository measure at that moment.

mod dashboard;
mod expiry;
#[path = "../../tests/observability/prometheus.rs"]
mod prometheus;
mod svg;

use std::fs;

use crate::{prerequisites, process};

/// Draws both. What they need is installed first; the load test takes two minutes.
pub(crate) fn draw() -> Result<(), String> {
    prerequisites::provide_pictures()?;
    write("stampede.svg", &expiry::picture()?)?;
    write("dashboard.svg", &dashboard::picture()?)
}

fn write(name: &str, picture: &str) -> Result<(), String> {
    let path = process::root().join("docs/pictures").join(name);
    fs::write(&path, picture).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("{}: {} kB", path.display(), picture.len() / 1000);
    Ok(())
}
