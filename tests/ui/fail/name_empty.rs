#[stampede::coalesce(ttl = "5s", name = "")]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
