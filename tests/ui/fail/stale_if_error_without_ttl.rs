#[stampede::coalesce(stale_if_error = "1m")]
async fn load(id: String) -> Result<usize, stampede::CircuitOpen> {
    Ok(id.len())
}

fn main() {}
