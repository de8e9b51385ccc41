use std::rc::Rc;

#[stampede::coalesce(ttl = "5s", key = "id")]
async fn load(cache: Rc<u8>, id: u64) -> u64 {
    id + u64::from(*cache)
}

fn main() {}
