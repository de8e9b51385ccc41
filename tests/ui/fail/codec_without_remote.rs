#[stampede::coalesce(ttl = "5s", codec = stampede::codec::Json)]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
