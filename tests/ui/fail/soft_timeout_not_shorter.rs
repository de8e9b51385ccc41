#[stampede::coalesce(ttl = "5s", stale_if_error = "1m", timeout = "1s", soft_timeout = "1s")]
async fn load(id: u64) -> Result<u64, stampede::Timeout> {
    Ok(id)
}

fn main() {}
