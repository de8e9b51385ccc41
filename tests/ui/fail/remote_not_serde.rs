#[derive(Clone, serde::Serialize)]
struct User;

#[stampede::coalesce(ttl = "5s", remote)]
async fn load(id: u64) -> Option<User> {
    Some(User)
}

fn main() {}
