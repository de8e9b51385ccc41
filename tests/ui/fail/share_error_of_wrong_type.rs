struct DbError;

fn copy(error: DbError) -> DbError {
    error
}

#[stampede::coalesce(ttl = "5s", share_error = copy)]
async fn load(id: u64) -> Result<u64, DbError> {
    Ok(id)
}

fn main() {}
