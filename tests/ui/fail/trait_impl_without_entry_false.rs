trait Users {
    async fn load(&self, id: u64) -> u64;
}

#[derive(Clone)]
struct Table;

impl Users for Table {
    #[stampede::coalesce(ttl = "5s", key = "id", skip(self))]
    async fn load(&self, id: u64) -> u64 {
        id
    }
}

fn main() {}
