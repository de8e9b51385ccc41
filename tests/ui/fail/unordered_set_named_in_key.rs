use std::collections::HashSet;

#[stampede::coalesce(ttl = "5s", key = "tenant, names")]
async fn load(tenant: u8, names: HashSet<String>) -> usize {
    names.len() + usize::from(tenant)
}

fn main() {}
