#[stampede::coalesce(remote)]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
