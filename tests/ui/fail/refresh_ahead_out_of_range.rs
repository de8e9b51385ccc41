#[stampede::coalesce(ttl = "5s", refresh_ahead = 1.5)]
async fn load(id: String) -> Result<usize, stampede::CircuitOpen> {
    Ok(id.len())
}

fn main() {}
