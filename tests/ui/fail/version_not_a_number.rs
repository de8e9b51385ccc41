#[stampede::coalesce(ttl = "5s", version = "2")]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
