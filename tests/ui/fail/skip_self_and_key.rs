#[derive(Clone)]
struct Repository(u64);

impl Repository {
    #[stampede::coalesce(ttl = "5s", key = "self.0, id", skip(self))]
    async fn load(&self, id: u64) -> u64 {
        id + self.0
    }
}

fn main() {}
