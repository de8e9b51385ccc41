//! A crate of the same name as the library: functions of one name in both are two.

use stampede_macros::coalesce;

#[coalesce(ttl = "5s", key = "id", crate = stampede_runtime)]
async fn load(id: u64, name: String) -> Option<String> {
    Some(format!("{id} {name}, as the test has it"))
}

#[tokio::test]
async fn crates_of_one_name_share_nothing() {
    assert_eq!(bare::load(1, "a".into()).await.as_deref(), Some("1 a"));
    assert_eq!(load(1, "a".into()).await.as_deref(), Some("1 a, as the test has it"));
    assert_eq!(bare::load_entry(1).get().await.flatten().as_deref(), Some("1 a"));
    assert_eq!(load_entry(1).get().await.flatten().as_deref(), Some("1 a, as the test has it"));
}
