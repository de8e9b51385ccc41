#[stampede::coalesce(ttl = "5s")]
async fn load(id: u64) -> u64 {
    stampede::NoCache(id).into()
}

fn main() {}
