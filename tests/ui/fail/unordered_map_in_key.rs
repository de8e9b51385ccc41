use std::collections::HashMap;

#[stampede::coalesce(ttl = "5s")]
async fn load(filter: Option<HashMap<String, u64>>) -> usize {
    filter.map_or(0, |filter| filter.len())
}

fn main() {}
