#[stampede::coalesce(ttl = "5s", run_limit = "0s")]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
