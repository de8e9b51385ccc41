#[derive(Clone, serde::Serialize)]
struct Row<'a>(&'a str);

#[stampede::coalesce(ttl = "5s")]
async fn load(row: Row<'_>, pair: (&str, u8)) -> usize {
    row.0.len() + pair.0.len()
}

fn main() {}
