#[stampede::coalesce(ttl = "5s", soft_timeout = "1s")]
async fn load(id: String) -> Result<usize, stampede::CircuitOpen> {
    Ok(id.len())
}

fn main() {}
