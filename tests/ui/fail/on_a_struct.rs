#[stampede::coalesce(ttl = "5s")]
struct User;

fn main() {}
