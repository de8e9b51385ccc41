use std::cell::Cell;

#[stampede::coalesce(ttl = "5s")]
async fn load(id: u64) -> Cell<u64> {
    Cell::new(id)
}

fn main() {}
