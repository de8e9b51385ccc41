//! A server that speaks TLS alone, with certificates of the test's own.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use stampede_redis::Redis;
use stampede_runtime::tier::Tier;

use crate::server::{Server, fresh_dir};
use crate::support::{key, lease, linked, payload, record};

struct Signed {
    certificate: String,
    key: String,
}

fn sign(issuer: &Issuer<'_, KeyPair>) -> Signed {
    let key = KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, issuer).unwrap();
    Signed { certificate: certificate.pem(), key: key.serialize_pem() }
}

#[tokio::test]
async fn tls_takes_the_authority_and_a_certificate_of_our_own() {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "the test's authority");
    let root = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let (theirs, ours) = (sign(&issuer), sign(&issuer));
    let dir = fresh_dir();
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (root_file, certificate) = (file("root", &root), file("certificate", &theirs.certificate));
    let key_file = file("key", &theirs.key);
    let server = Server::with_tls(&[
        "--tls-ca-cert-file",
        &root_file,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key_file,
    ]);
    let url = format!("rediss://127.0.0.1:{}", server.port);

    let redis = Redis::connect(&url)
        .prefix("shop")
        .root_certificate(root.as_str())
        .client_certificate(ours.certificate.as_str(), ours.key.as_str())
        .await
        .unwrap();
    redis.ping().await.unwrap();
    linked(&redis).await;
    let taken = lease(&redis, &key("7")).await;
    redis.fill(&key("7"), taken, record("a")).await.unwrap().unwrap();
    assert_eq!(payload(&redis, &key("7")).await.as_deref(), Some("a"));

    // The server wants a certificate; and its own is signed by nobody whom the machine trusts.
    if let Ok(anonymous) = Redis::connect(&url).root_certificate(root.as_str()).await {
        anonymous.ping().await.unwrap_err();
    }
    let trusting = Redis::connect(&url).client_certificate(ours.certificate.as_str(), ours.key.as_str());
    let error = trusting.await.unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer") && error.contains("root_certificate"), "{error}");
    // Neither does it speak anything else.
    Redis::connect(format!("redis://127.0.0.1:{}", server.port)).await.unwrap().ping().await.unwrap_err();
    let bad = Redis::connect(&url).root_certificate("nonsense").await.unwrap_err().to_string();
    assert!(bad.contains("PEM"), "{bad}");
    std::fs::remove_dir_all(&dir).unwrap();
}
