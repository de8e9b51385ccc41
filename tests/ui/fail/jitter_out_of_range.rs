#[stampede::coalesce(ttl = "5s", jitter = 1.0)]
async fn load(id: String) -> Result<usize, stampede::CircuitOpen> {
    Ok(id.len())
}

fn main() {}
