struct Pool;

#[stampede::coalesce(ttl = "5s", key = "id")]
async fn load(db: &Pool, id: u64) -> u64 {
    let _ = db;
    id
}

fn main() {}
