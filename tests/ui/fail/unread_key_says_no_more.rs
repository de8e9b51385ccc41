use std::collections::HashMap;

#[derive(Clone)]
struct Repository;

impl Repository {
    #[stampede::coalesce(ttl = "5s", key = "id id")]
    async fn load(&self, id: HashMap<u64, u64>) -> usize {
        id.len()
    }
}

fn main() {}
