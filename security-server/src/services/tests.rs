use std::{convert::Infallible, path::Path};

use http::{StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jibek_certs::{Clock, SystemClock};
use jibek_conf::files::atomic_write;
use tokio::net::TcpListener;

use super::*;
use crate::{
    body,
    clients::{ClientFolder, ClientsStatus},
    tls::ConsumerAcceptor,
};

/// A provider over TLS whose certificate is `internal`, that answers with the body it was sent.
async fn provider_system(internal: &InternalTls) -> u16 {
    let acceptor = Arc::new(ConsumerAcceptor::new(internal, Duration::from_secs(5)).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = Arc::clone(&acceptor);
            tokio::spawn(async move {
                let Ok((stream, info)) = acceptor.accept(stream).await else {
                    return;
                };
                let shown = info.certificate.is_some();
                let service = service_fn(move |request: Request<Incoming>| async move {
                    let body = request
                        .into_body()
                        .collect()
                        .await
                        .map(http_body_util::Collected::to_bytes);
                    let answer = format!("{shown} {}", body.map_or(0, |body| body.len()));
                    Ok::<_, Infallible>(Response::new(body::full(answer)))
                });
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    port
}

fn client(directory: &Path, url: &str, more: &str) -> Arc<crate::clients::Clients> {
    let document = format!(
        "client = \"KG/GOV/1/a\"\ncertificates = [\"is.pem\"]\n[[service]]\ncode = \"s\"\nkind = \"rest\"\nurl = \"{url}\"\n{more}"
    );
    atomic_write(directory.join("a.toml"), document.as_bytes()).unwrap();
    let folder = ClientFolder::open(directory).unwrap();
    let ClientsStatus { problems, .. } = folder.status();
    assert!(problems.is_empty());
    folder.shared().load_full()
}

async fn call(
    services: &ServiceClient,
    clients: &crate::clients::Clients,
    body: Body,
) -> Result<(StatusCode, Bytes), ServiceCallError> {
    let client = clients.all().next().unwrap();
    let service = client.service("s", None).unwrap();
    let uri: Uri = service.url().clone();
    let response = services
        .call(service, client, Request::post(uri).body(body).unwrap())
        .await?;
    let (parts, body) = response.into_parts();
    Ok((parts.status, body.collect().await.unwrap().to_bytes()))
}

#[tokio::test]
async fn providers_are_pinned_to_their_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let now = SystemClock.now();
    let make =
        |name: &str| InternalTls::open_or_create(&directory.path().join(name), name, now).unwrap();
    let (ours, theirs, other) = (Arc::new(make("ours")), make("theirs"), make("other"));
    let clients = directory.path().join("clients");
    std::fs::create_dir(&clients).unwrap();
    let services = ServiceClient::new(ours, Duration::from_secs(5));
    let port = provider_system(&theirs).await;
    let url = format!("https://127.0.0.1:{port}/x");

    atomic_write(
        clients.join("is.pem"),
        theirs.certificate().to_pem().as_bytes(),
    )
    .unwrap();
    let (status, answer) = call(&services, &client(&clients, &url, ""), body::full("12345"))
        .await
        .unwrap();
    assert_eq!(
        (status, answer.as_ref()),
        (StatusCode::OK, &b"true 5"[..]),
        "our certificate is offered"
    );

    atomic_write(
        clients.join("is.pem"),
        other.certificate().to_pem().as_bytes(),
    )
    .unwrap();
    let refused = call(&services, &client(&clients, &url, ""), body::empty())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "ssl_authentication_failed", "{refused}");
    let unverified = client(&clients, &url, "verify_tls = false\n");
    assert!(call(&services, &unverified, body::empty()).await.is_ok());
}

#[tokio::test]
async fn a_silent_provider_is_given_up_and_a_slow_upload_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let ours =
        InternalTls::open_or_create(&directory.path().join("tls"), "ours", SystemClock.now())
            .unwrap();
    let clients = directory.path().join("clients");
    std::fs::create_dir(&clients).unwrap();
    atomic_write(
        clients.join("is.pem"),
        ours.certificate().to_pem().as_bytes(),
    )
    .unwrap();
    let services = ServiceClient::new(Arc::new(ours), Duration::from_millis(500));

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let impatient = client(&clients, &url, "timeout_seconds = 1\n");
    let error = call(&services, &impatient, body::empty())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ServiceCallError::TimedOut { .. }) && error.code() == "io_error",
        "{error}"
    );

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", plain.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = plain.accept().await.unwrap();
        let service = service_fn(|request: Request<Incoming>| async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Ok::<_, Infallible>(Response::new(body::full(body)))
        });
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await
    });
    let chunks = futures_util::stream::unfold(0, |count| async move {
        tokio::time::sleep(Duration::from_millis(400)).await;
        (count < 4).then(|| (Ok(Bytes::from_static(b"x")), count + 1))
    });
    let slow = call(
        &services,
        &client(&clients, &url, "timeout_seconds = 1\n"),
        body::sized(chunks, 4),
    )
    .await;
    assert_eq!(slow.unwrap().1, "xxxx");

    drop(silent);
    let refused = call(&services, &impatient, body::empty())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "network_error");
    let broken = futures_util::stream::iter([
        Ok(Bytes::from_static(b"x")),
        Err(std::io::ErrorKind::BrokenPipe.into()),
    ]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let error = call(
        &services,
        &client(&clients, &url, ""),
        body::sized(broken, 4),
    )
    .await
    .unwrap_err();
    assert!(
        matches!(error, ServiceCallError::RequestBody { .. }),
        "{error}"
    );
}
