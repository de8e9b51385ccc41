#[stampede::coalesce(ttl = "5s", tags = "")]
async fn load(id: String) -> Result<usize, stampede::CircuitOpen> {
    Ok(id.len())
}

fn main() {}
