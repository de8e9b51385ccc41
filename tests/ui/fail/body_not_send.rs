use std::rc::Rc;

#[stampede::coalesce(ttl = "5s")]
async fn load(id: u64) -> u64 {
    let id = Rc::new(id);
    std::future::ready(()).await;
    *id
}

fn main() {}
