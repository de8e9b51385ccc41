#[stampede::coalesce(ttl = "5s")]
async fn load(id: u64) -> u64 {
    id
}

fn load_entry() {}

fn main() {
    load_entry();
}
