//! Call and offer services through a Jibek or X-Road security server.
