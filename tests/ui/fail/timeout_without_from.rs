#[derive(Clone)]
struct DbError;

#[stampede::coalesce(ttl = "5s", timeout = "1s")]
async fn load(id: u64) -> Result<u64, DbError> {
    Ok(id)
}

fn main() {}
