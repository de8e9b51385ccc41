#[derive(Clone)]
struct DbError;

#[stampede::coalesce(ttl = "5s", breaker(failures = 5, reset_after = "30s"))]
async fn load(id: u64) -> Result<u64, DbError> {
    Ok(id)
}

fn main() {}
