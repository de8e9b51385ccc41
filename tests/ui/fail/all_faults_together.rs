#[stampede::coalesce(ttl = "5 parsecs", tll = "1s", key = "uid", retry_after = 1)]
async fn load(id: u64) -> u64 {
    id
}

// One mistake does not light up the callers.
async fn caller() -> u64 {
    load(1).await
}

fn main() {
    let _ = caller();
}
