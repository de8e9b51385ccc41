const VERSION: u32 = 1;

#[stampede::coalesce(ttl = "5s", key = "id, VERSION")]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
