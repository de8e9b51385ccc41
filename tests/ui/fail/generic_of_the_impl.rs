struct Of<T>(T);

impl<T: Default + Into<u64>> Of<T> {
    #[stampede::coalesce(ttl = "5s")]
    async fn load(id: u64) -> u64 {
        id + T::default().into()
    }
}

fn main() {}
