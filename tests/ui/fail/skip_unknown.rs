#[stampede::coalesce(ttl = "5s", skip(pool))]
async fn load(db: String, id: u64) -> u64 {
    id + db.len() as u64
}

fn main() {}
