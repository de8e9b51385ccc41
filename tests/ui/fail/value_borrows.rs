#[stampede::coalesce(ttl = "5s")]
async fn load<'a>(name: &'a str) -> &'a str {
    name
}

fn main() {}
