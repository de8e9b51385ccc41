struct User;

#[stampede::coalesce(ttl = "5s")]
async fn load(_id: u64) -> Result<User, String> {
    Ok(User)
}

fn main() {}
