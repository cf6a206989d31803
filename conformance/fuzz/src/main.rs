//! One fuzz target for each parser that reads what strangers write. `make fuzz` runs them all, `.ci/fuzz` says how one is run alone.
//!
//! All targets are one program, which is linked once: `JIBEK_FUZZ=name` picks one. `JIBEK_FUZZ=list` names them,
//! `JIBEK_FUZZ_SEEDS=FOLDER` makes the program write the seeds of the one picked and end. Seeds are real messages, containers and
//! configurations where `JIBEK_XROAD_FIXTURES` is, else none.

#![no_main]

mod certs;
mod conf;
mod evidence;
mod hello;
mod msglog;
mod protocol;
mod seeds;

use std::sync::OnceLock;

/// A parser and where its seeds come from.
struct Target {
    name: &'static str,
    run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

const TARGETS: &[Target] = &[
    Target {
        name: "identifier",
        run: protocol::identifier,
        seeds: protocol::identifier_seeds,
    },
    Target {
        name: "media_type",
        run: protocol::media_type,
        seeds: protocol::media_type_seeds,
    },
    Target {
        name: "multipart",
        run: protocol::multipart,
        seeds: protocol::multipart_seeds,
    },
    Target {
        name: "path",
        run: protocol::path,
        seeds: protocol::path_seeds,
    },
    Target {
        name: "rest_block",
        run: protocol::rest_block,
        seeds: protocol::rest_block_seeds,
    },
    Target {
        name: "soap",
        run: protocol::soap,
        seeds: protocol::soap_seeds,
    },
    Target {
        name: "xml",
        run: protocol::xml,
        seeds: protocol::soap_seeds,
    },
    Target {
        name: "certificate",
        run: certs::certificate,
        seeds: certs::certificate_seeds,
    },
    Target {
        name: "key",
        run: certs::key,
        seeds: certs::key_seeds,
    },
    Target {
        name: "ocsp",
        run: certs::ocsp,
        seeds: certs::ocsp_seeds,
    },
    Target {
        name: "token",
        run: certs::token,
        seeds: certs::token_seeds,
    },
    Target {
        name: "archive",
        run: evidence::archive,
        seeds: evidence::archive_seeds,
    },
    Target {
        name: "c14n",
        run: evidence::c14n,
        seeds: evidence::signature_seeds,
    },
    Target {
        name: "container",
        run: evidence::container,
        seeds: evidence::container_seeds,
    },
    Target {
        name: "hash_chain",
        run: evidence::hash_chain,
        seeds: evidence::hash_chain_seeds,
    },
    Target {
        name: "open",
        run: evidence::open,
        seeds: evidence::signature_seeds,
    },
    Target {
        name: "verdict",
        run: evidence::verdict,
        seeds: evidence::signature_seeds,
    },
    Target {
        name: "anchor",
        run: conf::anchor,
        seeds: conf::anchor_seeds,
    },
    Target {
        name: "conf_part",
        run: conf::part,
        seeds: conf::part_seeds,
    },
    Target {
        name: "conf_directory",
        run: conf::directory,
        seeds: conf::directory_seeds,
    },
    Target {
        name: "log_segment",
        run: msglog::segment,
        seeds: msglog::segment_seeds,
    },
    Target {
        name: "tls_hello",
        run: hello::hello,
        seeds: hello::hello_seeds,
    },
];

fn target() -> &'static Target {
    static TARGET: OnceLock<&Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("JIBEK_FUZZ").unwrap_or_default();
        let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
            for target in TARGETS {
                println!("{}", target.name);
            }
            std::process::exit(if name == "list" { 0 } else { 64 });
        };
        if let Some(folder) = std::env::var_os("JIBEK_FUZZ_SEEDS") {
            for (number, seed) in (target.seeds)().into_iter().enumerate() {
                std::fs::write(
                    std::path::Path::new(&folder).join(format!("seed-{number}")),
                    seed,
                )
                .expect("cannot write a seed");
            }
            std::process::exit(0);
        }
        target
    })
}

libfuzzer_sys::fuzz_target!(init: { target(); }, |data: &[u8]| (target().run)(data));
