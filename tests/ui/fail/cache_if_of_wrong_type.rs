#[stampede::coalesce(ttl = "5s", cache_if = |value: &String| !value.is_empty())]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
