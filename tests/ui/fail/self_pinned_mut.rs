use std::pin::Pin;

struct Repository;

impl Repository {
    #[stampede::coalesce(ttl = "5s", key = "id", skip(self))]
    async fn load(self: Pin<&mut Self>, id: u64) -> u64 {
        id
    }
}

fn main() {}
