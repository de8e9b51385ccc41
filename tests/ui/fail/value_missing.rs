#[stampede::coalesce(key = "id", ttl = )]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
