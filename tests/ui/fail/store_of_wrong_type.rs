static STORE: u8 = 1;

#[stampede::coalesce(ttl = "5s", store = STORE)]
async fn load(id: u64) -> u64 {
    id
}

fn main() {}
