#[stampede::coalesce(ttl = "5s" key = "id")]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
