//! Who may call what: rights, paths, names, connections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it met by failing, its helpers too"
)]

mod authz {
    mod connections;
    mod early;
    mod names;
    mod rights;

    use bytes::Bytes;
    use http::{Request, Response, StatusCode};
    use jibek_conf::files::atomic_write;
    use jibek_conformance::world::{PROVIDER, World};

    /// A country in which the provider's document is `document`, with the address of its system put in for `SYSTEM`.
    async fn world(document: &str) -> World {
        let mut world = World::builder()
            .build(|call| Response::new(Bytes::from(call.uri.to_string())))
            .await;
        let file = world.server_dir(1).join("clients/provider.toml");
        assert!(file.exists());
        let system = world.system.address().to_string();
        let document = document.replace("SYSTEM", &system);
        atomic_write(&file, document.as_bytes()).unwrap();
        world.running.restart_server(1).await.unwrap();
        ready(&world).await;
        world
    }

    async fn ready(world: &World) {
        let patience = std::time::Duration::from_secs(30);
        world.running.ready(patience).await.unwrap();
    }

    /// The code of the fault, or `None` for an answer of the system.
    fn code(answer: &Response<Bytes>) -> Option<&str> {
        let code = answer.headers().get("x-road-error");
        assert_eq!(
            code.is_none(),
            answer.status() == StatusCode::OK,
            "{answer:?}"
        );
        code.map(|code| code.to_str().unwrap())
    }

    async fn rest(world: &World, client: &str, method: &str, path: &str) -> Response<Bytes> {
        let url = world.running.server(0).url();
        let request = Request::builder()
            .method(method)
            .uri(format!("{url}/r1/{PROVIDER}/{path}"))
            .header("X-Road-Client", client);
        world.send(request, "").await
    }
}
