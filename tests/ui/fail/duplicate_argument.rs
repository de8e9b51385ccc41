#[stampede::coalesce(ttl = "5s", ttl = "6s")]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
