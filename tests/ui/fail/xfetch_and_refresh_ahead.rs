#[stampede::coalesce(ttl = "5s", xfetch = 1.0, refresh_ahead = 0.8)]
async fn load(id: String) -> Result<usize, stampede::CircuitOpen> {
    Ok(id.len())
}

fn main() {}
