#[stampede::coalesce(ttl = 5)]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
