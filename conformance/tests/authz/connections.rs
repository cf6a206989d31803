//! How information systems must connect (`message-path.md` 6.2).

use std::{net::SocketAddr, pin::Pin};

use jibek_conf::files::atomic_write;
use jibek_conformance::world::{PROVIDER, STRANGER, World};
use openssl::{
    asn1::Asn1Time,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    ssl::{SslConnector, SslMethod, SslVerifyMode},
    x509::{X509, X509NameBuilder},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::ready;

type Identity = (PKey<Private>, X509);

/// What an information system makes for itself.
fn self_signed(name: &str) -> Identity {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(7).unwrap())
        .unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (key, builder.build())
}

/// Calls as the stranger; returns the answer as text. The right that it lacks is judged later than the connection.
async fn call(to: SocketAddr, tls: bool, identity: Option<&Identity>) -> String {
    let request = format!(
        "GET /r1/{PROVIDER}/rest/x HTTP/1.1\r\nHost: x\r\nX-Road-Client: {STRANGER}\r\nConnection: close\r\n\r\n"
    );
    let mut tcp = TcpStream::connect(to).await.unwrap();
    let mut answer = Vec::new();
    if !tls {
        tcp.write_all(request.as_bytes()).await.unwrap();
        tcp.read_to_end(&mut answer).await.unwrap();
        return String::from_utf8(answer).unwrap();
    }
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(SslVerifyMode::NONE);
    if let Some((key, certificate)) = identity {
        builder.set_private_key(key).unwrap();
        builder.set_certificate(certificate).unwrap();
    }
    let ssl = builder.build().configure().unwrap().into_ssl("x").unwrap();
    let mut stream = tokio_openssl::SslStream::new(ssl, tcp).unwrap();
    Pin::new(&mut stream).connect().await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_must_connect_as_their_documents_say() {
    let mut world = World::builder()
        .build(|_| http::Response::new(bytes::Bytes::new()))
        .await;
    let clients = world.server_dir(0).join("clients");
    let (known, other) = (self_signed("known"), self_signed("other"));
    atomic_write(clients.join("is.pem"), &known.1.to_pem().unwrap()).unwrap();
    let certificates = "certificates = [\"is.pem\"]\n";
    // For plain HTTP, HTTPS without, with another and with the registered certificate: whether it may speak.
    for (connection, certificates, may) in [
        ("http", "", [true, true, true, true]),
        ("https", "", [false, true, true, true]),
        ("https-mutual", certificates, [false, false, false, true]),
    ] {
        let text =
            format!("client = \"{STRANGER}\"\nconnection = \"{connection}\"\n{certificates}");
        atomic_write(clients.join("stranger.toml"), text.as_bytes()).unwrap();
        world.running.restart_server(0).await.unwrap();
        ready(&world).await;
        let addresses = &world.running.server(0).addresses;
        let (http, https) = (
            addresses.consumer_http.unwrap(),
            addresses.consumer_https.unwrap(),
        );
        let answers = [
            call(http, false, None).await,
            call(https, true, None).await,
            call(https, true, Some(&other)).await,
            call(https, true, Some(&known)).await,
        ];
        for (answer, may) in answers.iter().zip(may) {
            let expected = if may {
                "server.serverproxy.access_denied"
            } else {
                "server.clientproxy.ssl_authentication_failed"
            };
            assert!(
                answer.contains(&format!("x-road-error: {expected}\r\n")),
                "{connection}: expected {expected}\n{answer}"
            );
        }
    }
    world.finish().await;
}
