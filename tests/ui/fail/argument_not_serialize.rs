#[derive(Clone)]
struct Pool;

#[stampede::coalesce(ttl = "5s")]
async fn load(db: Pool, id: u64) -> u64 {
    drop(db);
    id
}

fn main() {}
