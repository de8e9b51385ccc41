#[stampede::coalesce(ttl = "5s", xfetch = 0.0)]
async fn load(id: String) -> Result<usize, stampede::CircuitOpen> {
    Ok(id.len())
}

fn main() {}
