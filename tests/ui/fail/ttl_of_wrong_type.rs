fn ttl() -> u64 {
    5
}

#[stampede::coalesce(ttl = ttl())]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
