#[async_trait::async_trait]
trait Users {
    async fn load(&self, id: u64) -> u64;
}

#[derive(Clone)]
struct Table;

#[async_trait::async_trait]
impl Users for Table {
    #[stampede::coalesce(ttl = "5s", key = "id", skip(self), entry = users)]
    async fn load(&self, id: u64) -> u64 {
        id
    }
}

fn main() {}
