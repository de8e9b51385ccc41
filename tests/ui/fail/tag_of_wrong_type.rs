#[stampede::coalesce(ttl = "5s", tags = "id")]
async fn load(id: Vec<u64>) -> usize {
    id.len()
}

fn main() {}
