#[stampede::coalesce(refresh_ahead = 0.8)]
async fn load(id: String) -> Result<usize, stampede::CircuitOpen> {
    Ok(id.len())
}

fn main() {}
