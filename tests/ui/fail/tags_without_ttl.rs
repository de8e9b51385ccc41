#[stampede::coalesce(tags = "id")]
async fn load(id: String) -> Result<usize, stampede::CircuitOpen> {
    Ok(id.len())
}

fn main() {}
