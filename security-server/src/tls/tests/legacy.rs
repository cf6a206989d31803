//! Peers that have nothing but the OpenSSL endpoint's suites, outbound.

use super::*;

#[tokio::test]
async fn legacy_servers_are_reached_after_their_refusal_and_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let (server, client) = (
        Identity::new("ss1", KeyKind::Rsa2048),
        Identity::new("ss2", KeyKind::Rsa2048),
    );
    let (certificate, key) = server.files(&directory, "server");
    let probe = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let mut child = Command::new("openssl")
        .args([
            "s_server",
            "-accept",
            &address.to_string(),
            "-Verify",
            "1",
            "-rev",
            "-quiet",
        ])
        .args(LEGACY)
        .arg("-cert")
        .arg(certificate)
        .arg("-key")
        .arg(key)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let clock = TestClock::new(SystemClock.now());
    let store = crate::store::Store::open(directory.path().join("store").as_path()).unwrap();
    let connector = PeerConnector::new(
        client.ring(),
        Some(store),
        Arc::new(clock.clone()),
        &settings(),
    );
    for hour in 0..3 {
        let stream = reach(address).await;
        let (mut stream, tls) = connector
            .secure(stream, "127.0.0.1", address)
            .await
            .unwrap();
        assert_eq!(tls.stack, Stack::Legacy);
        assert_eq!(tls.certificates, std::slice::from_ref(&server.certificate));
        assert_eq!(tls.resumed, hour > 0, "connection {hour}");
        stream.write_all(b"abc\n").await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = [0; 4];
        timeout(Duration::from_secs(5), stream.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&answer, b"cba\n");
        let remembered = connector
            .memory
            .get(&format!("127.0.0.1:{}", address.port()), clock.now());
        assert!(
            matches!(remembered, Some(memory::Mark::Refused { .. })),
            "{hour}"
        );
        clock.advance(Duration::from_secs(1801)); // the second is told from memory, the third asks again
    }
    let mut off = settings();
    off.legacy_tls = false;
    let connector = PeerConnector::new(client.ring(), None, Arc::new(clock.clone()), &off);
    let error = connector
        .secure(reach(address).await, "127.0.0.1", address)
        .await
        .unwrap_err();
    assert!(matches!(error, TlsError::LegacyOff { .. }));

    let connector = PeerConnector::new(client.ring(), None, Arc::new(clock), &settings());
    connector
        .memory
        .reached(&format!("127.0.0.1:{}", address.port()))
        .await;
    let error = connector
        .secure(reach(address).await, "127.0.0.1", address)
        .await
        .unwrap_err();
    assert!(matches!(error, TlsError::Downgrade { .. }));
    child.kill().await.unwrap();
}

#[tokio::test]
async fn legacy_sessions_are_resumed_outbound_with_the_same_key_and_peer() {
    let (server, other, client, newer) = (
        Identity::new("ss1", KeyKind::Rsa2048),
        Identity::new("ss3", KeyKind::Rsa2048),
        Identity::new("ss2", KeyKind::Rsa2048),
        Identity::new("ss2", KeyKind::Rsa2048),
    );
    // Our own acceptor as a peer that has legacy TLS only: the connector is told that it refused the rest.
    let known = [client.certificate.clone(), newer.certificate.clone()];
    let registered: Registered =
        Arc::new(move |leaf: &[u8]| known.iter().any(|known| *known.der() == leaf));
    let settings = settings();
    let door = Door::open(&server, Arc::clone(&registered), &settings).await;
    let another = Door::open(&other, Arc::clone(&registered), &settings).await;
    let connector = connector(&client, &settings);
    let reached = async |connector: &PeerConnector, door: &Door| {
        let peer = format!("127.0.0.1:{}", door.address.port());
        connector.memory.refused(&peer, SystemClock.now());
        let (mut stream, tls) = connect(connector, door).await.unwrap();
        echo(&mut stream).await.unwrap();
        assert_eq!(tls.stack, Stack::Legacy);
        (tls.resumed, tls.certificates)
    };
    let certificates = vec![server.certificate.clone()];
    assert_eq!(
        reached(&connector, &door).await,
        (false, certificates.clone())
    );
    for _ in 0..3 {
        assert_eq!(
            reached(&connector, &door).await,
            (true, certificates.clone())
        );
    }
    // Another peer is another session.
    let others = vec![other.certificate.clone()];
    assert_eq!(reached(&connector, &another).await, (false, others.clone()));
    assert_eq!(reached(&connector, &another).await, (true, others));
    assert_eq!(
        reached(&connector, &door).await,
        (true, certificates.clone())
    );
    // Another key has sessions of its own.
    let connector = self::connector(&newer, &settings);
    assert_eq!(
        reached(&connector, &door).await,
        (false, certificates.clone())
    );
    assert_eq!(reached(&connector, &door).await, (true, certificates));
}

#[tokio::test]
async fn a_session_that_the_peer_forgot_is_replaced() {
    let (server, client) = (
        Identity::new("ss1", KeyKind::Rsa2048),
        Identity::new("ss2", KeyKind::Rsa2048),
    );
    let settings = settings();
    let connector = connector(&client, &settings);
    let door = Door::open(&server, knows(&client.certificate), &settings).await;
    let peer = format!("127.0.0.1:{}", door.address.port());
    let mut resumed = Vec::new();
    for _ in 0..2 {
        for _ in 0..3 {
            connector.memory.refused(&peer, SystemClock.now());
            let (mut stream, tls) = connect(&connector, &door).await.unwrap();
            echo(&mut stream).await.unwrap();
            resumed.push(tls.resumed);
        }
        door.begin_again(&server, knows(&client.certificate), &settings);
    }
    // The second time the old session is refused once, all are forgotten, and a new one is made and resumed.
    assert_eq!(resumed, [false, true, true, false, false, true]);
}
