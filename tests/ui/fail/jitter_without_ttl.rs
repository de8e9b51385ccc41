#[stampede::coalesce(jitter = 0.1)]
async fn load(id: String) -> Result<usize, stampede::CircuitOpen> {
    Ok(id.len())
}

fn main() {}
