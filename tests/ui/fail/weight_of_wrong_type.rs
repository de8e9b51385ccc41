#[stampede::coalesce(ttl = "5s", weight = String::len)]
async fn load(id: u64) -> String {
    id.to_string()
}

fn main() {}
