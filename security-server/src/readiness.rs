//! Would a message succeed now? Each reason why not, by name, for `/readyz`.

use std::sync::Arc;

use crate::{
    admin::{CheckState, Checks, checks},
    clients::ClientFolder,
    context::Context,
};

/// Returns the checks of this server.
pub(crate) fn checks(context: &Arc<Context>, folder: &Arc<ClientFolder>) -> Checks {
    let auth = Arc::clone(context);
    let sign = Arc::clone(context);
    let folder = Arc::clone(folder);
    Checks::new()
        .with(checks::configuration(Arc::clone(&context.conf)))
        .with(checks::log(context.log.clone()))
        .with(checks::stamping(context.gate.clone()))
        .with_fn("authentication key", move |now| {
            let keys = auth.keys.current();
            let Some(key) = keys.auth() else {
                return CheckState::not_ready(
                    keys.auth_problem()
                        .unwrap_or("there is no authentication key")
                        .to_owned(),
                );
            };
            match auth
                .ocsp
                .fresh_chain(key.certificate(), &auth.conf.snapshot(), now)
            {
                Ok(_) => CheckState::ready(),
                Err(missing) => CheckState::not_ready(missing.to_string()),
            }
        })
        .with_fn("sign keys", move |_| {
            let clients = sign.clients.load_full();
            for member in clients.members() {
                if let Err(error) = sign.sealer.ready(&member) {
                    return CheckState::not_ready(error.to_string());
                }
            }
            CheckState::ready()
        })
        .with_fn("clients", move |_| {
            // A wrong file is refused and the old one stays in force: the server is ready, and says so.
            match folder.status().problems.first() {
                None => CheckState::ready(),
                Some(problem) => CheckState::Ready {
                    note: Some(format!("refused, the old one stays in force: {problem}")),
                    seconds_left: None,
                },
            }
        })
}
