#[stampede::coalesce(ttl = "5s", inline = true)]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
