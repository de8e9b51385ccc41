#[stampede::coalesce(ttl = "5s", key = "id")]
async fn load(buffer: &mut String, id: u64) -> u64 {
    buffer.clear();
    id
}

fn main() {}
