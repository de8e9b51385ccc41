#[stampede::coalesce(stale_while_revalidate = "5s")]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
