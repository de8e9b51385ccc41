#[stampede::coalesce(ttl = "5s", skip(name))]
async fn load((id, name): (u64, String)) -> u64 {
    id + name.len() as u64
}

fn main() {}
