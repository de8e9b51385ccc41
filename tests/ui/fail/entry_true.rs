#[stampede::coalesce(ttl = "5s", entry = true)]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
