#[stampede::coalesce(ttl = "5s", breaker(failures = 5))]
async fn load(id: String) -> Result<usize, stampede::CircuitOpen> {
    Ok(id.len())
}

fn main() {}
