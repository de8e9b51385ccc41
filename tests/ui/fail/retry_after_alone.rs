#[stampede::coalesce(ttl = "5s", retry_after = "1s")]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
