#[async_trait::async_trait]
trait Users {
    #[stampede::coalesce(ttl = "5s", key = "id", skip(self))]
    async fn load(&self, id: u64) -> u64;
}

fn main() {}
