//! The look at a ClientHello that decides who answers it. The module is taken from the server by its file, which spares building the
//! server.

#[allow(dead_code, unused_imports, reason = "a part of it is used")]
#[path = "../../../security-server/src/tls/hello.rs"]
mod server;

pub fn hello(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut stream = data;
    let _ = runtime.block_on(server::read(&mut stream));
}

pub fn hello_seeds() -> Vec<Vec<u8>> {
    // TLS 1.2 with the three suites of X-Road 7.8 (`observed.md` 2), and an extension
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 6, 0xc0, 0x28, 0x00, 0x6b, 0xc0, 0x24, 1, 0],
        &[0, 7, 0x00, 0x2b, 0, 3, 2, 3, 4],
    ]
    .concat();
    let length = u8::try_from(body.len()).expect("a short hello");
    let handshake = [&[1, 0, 0, length][..], &body].concat();
    vec![[&[22, 3, 1, 0, length + 4][..], &handshake].concat()]
}
