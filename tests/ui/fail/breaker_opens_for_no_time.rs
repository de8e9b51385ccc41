#[stampede::coalesce(ttl = "5s", breaker(failures = 5, reset_after = "0s"))]
async fn load(id: String) -> Result<usize, stampede::CircuitOpen> {
    Ok(id.len())
}

fn main() {}
