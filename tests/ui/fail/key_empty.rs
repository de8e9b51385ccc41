#[stampede::coalesce(ttl = "5s", key = "")]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
