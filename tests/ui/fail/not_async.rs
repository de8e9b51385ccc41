#[stampede::coalesce(ttl = "5s")]
fn load(id: u64) -> u64 {
    id
}

fn main() {}
