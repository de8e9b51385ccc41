//! What a connection needs, and what is said if it is not there.

use std::time::{Duration, Instant};

use stampede_redis::Redis;
use stampede_runtime::tier::Tier;

use crate::server::{Server, free_port};
use crate::support::{connect, key, lease, payload, record, until};

async fn complaint(connect: stampede_redis::Connect) -> String {
    connect.await.expect_err("it must not work").to_string()
}

#[tokio::test]
async fn bad_urls_say_what_to_write() {
    for url in ["", "localhost", "http://localhost", "redis://", "redis://h/x", "redis://:se%20cret@h:99999"] {
        let message = complaint(Redis::connect(url)).await;
        assert!(message.contains("redis://user:password@host:6379/0"), "{url}: {message}");
        assert!(!message.contains("cret"), "{message}");
    }
    assert!(complaint(Redis::connect("redis://h").prefix("a{b")).await.contains("without braces"));
    assert!(complaint(Redis::connect("redis://h").lease(Duration::ZERO)).await.contains("3 s"));
    if cfg!(not(feature = "tls")) {
        assert!(complaint(Redis::connect("rediss://h")).await.contains("redis-tls"));
    }
}

#[tokio::test]
async fn a_wrong_password_is_an_error_at_once_and_loud_later() {
    let server = Server::with_password("right");
    let none = complaint(Redis::connect(format!("redis://127.0.0.1:{}", server.port))).await;
    assert!(none.contains("wants a password") && none.contains("redis://:PASSWORD@host"), "{none}");
    let wrong = complaint(Redis::connect(format!("redis://:wrong@127.0.0.1:{}", server.port))).await;
    assert!(wrong.contains("refuses") && wrong.contains("redis://:PASSWORD@host"), "{wrong}");
    assert!(!wrong.contains(":wrong"), "{wrong}");

    let redis = connect(&server).await;
    redis.ping().await.unwrap();
    assert!(!format!("{redis:?}").contains("right"));
    let _: () = server.ask(&["CONFIG", "SET", "requirepass", "other"]);
    let mut client = redis::Client::open(format!("redis://:other@127.0.0.1:{}", server.port)).unwrap();
    let _: i64 = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").query(&mut client).unwrap();
    until(async || redis.ping().await.is_err_and(|error| error.is_loud())).await;
    let _: () = redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("right").query(&mut client).unwrap();
    until(async || redis.ping().await.is_ok()).await;
}

#[tokio::test]
async fn a_user_may_be_confined_to_a_prefix() {
    let server = Server::start();
    let rights = "ACL SETUSER shop on >secret ~shop:* &shop:* +@read +@write +@scripting +@pubsub +@connection";
    let _: () = server.ask(&rights.split(' ').collect::<Vec<_>>());
    let url = format!("redis://shop:secret@127.0.0.1:{}", server.port);
    let redis = Redis::connect(&url).prefix("shop").await.unwrap();
    let mut news = crate::support::linked(&redis).await;
    let taken = lease(&redis, &key("7")).await;
    redis.fill(&key("7"), taken, record("a")).await.unwrap().unwrap();
    drop(redis.watch(&key("7")).await.unwrap());
    redis.invalidate_tag("t").await.unwrap();
    redis.clear().await.unwrap();
    redis.ping().await.unwrap();
    connect(&server).await.clear().await.unwrap();
    crate::support::next(&mut news).await;
    // What is beyond its rights will not pass by itself.
    let other = Redis::connect(&url).prefix("blog").await.unwrap();
    assert!(other.ping().await.unwrap_err().is_loud());
}

#[tokio::test]
async fn it_works_while_redis_is_down() {
    let port = free_port();
    let start = Instant::now();
    let redis = Redis::connect(format!("redis://127.0.0.1:{port}")).prefix("shop").await.unwrap();
    let error = redis.ping().await.unwrap_err();
    assert!(!error.is_loud());
    // Nobody waits for what is not there.
    for _ in 0..1000 {
        redis.read(&key("7")).await.unwrap_err();
        redis.watch(&key("7")).await.err().unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    drop(redis);

    let mut server = Server::start();
    server.kill();
    let redis = connect(&server).await;
    redis.ping().await.unwrap_err();
    server.restart();
    let start = Instant::now();
    until(async || redis.ping().await.is_ok()).await;
    assert!(start.elapsed() < Duration::from_secs(5));
    redis.put(&key("7"), record("a")).await.unwrap();
    assert_eq!(payload(&redis, &key("7")).await.as_deref(), Some("a"));
}

#[tokio::test]
async fn a_server_that_does_not_answer_holds_up_nobody_for_long() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    let redis = Redis::connect(format!("redis://{}", listener.local_addr().unwrap())).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    redis.ping().await.unwrap_err();
}

#[tokio::test]
async fn the_last_handle_takes_the_connections_with_it() {
    let server = Server::start();
    let redis = connect(&server).await;
    let clone = redis.clone();
    crate::support::linked(&redis).await;
    let connections = || server.ask::<String>(&["CLIENT", "LIST"]).lines().count();
    drop(redis);
    clone.ping().await.unwrap();
    assert_eq!(connections(), 3, "one of them asks");
    drop(clone);
    until(async || connections() == 1).await;
}
