#[stampede::coalesce(ttl = "5s", error_ttl = "1s")]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
