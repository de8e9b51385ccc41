#[stampede::coalesce(ttl = "5s")]
async fn load(id: u64) -> impl std::fmt::Display + Clone {
    id
}

fn main() {}
