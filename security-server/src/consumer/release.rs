//! The signature leaves. From here on the provider may act.

use std::sync::Arc;

use jibek_conf::Snapshot;

use super::{
    connect::Way,
    record::Asked,
    seal::{SealError, own_ocsp},
    send::{Answer, Sending, Stopped},
};
use crate::{context::Context, peers::PeerConnection};

/// A request that the peer has whole.
pub(crate) struct Released {
    pub(super) connection: PeerConnection,
    pub(super) answer: Answer,
}

impl std::fmt::Debug for Released {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Released").finish_non_exhaustive()
    }
}

/// Sends the signature. A connection that was lost before is replaced, as far as `way` goes; from here on `way` leads to the
/// same server only, if that executes a request once, and else nowhere.
///
/// A peer that goes away with the signature is no error here: what it said before, or that it said nothing, shows when the
/// answer is opened.
///
/// # Errors
///
/// The connection was lost and could not be replaced, or the peer refused.
pub(crate) async fn request(
    context: &Context,
    asked: &Asked,
    mut sending: Sending,
    way: &mut Way,
    conf: &Arc<Snapshot>,
) -> Result<Released, SealError> {
    // Signing and recording took a moment: the connection may have died in it.
    while let Err(stopped) = sending.announce(&asked.signature).await {
        if let Some(error) = sending.last_words(context, stopped).await {
            return Err(error);
        }
        sending = again(context, asked, way, conf).await?;
    }
    let Sending {
        connection,
        mut outgoing,
        mut answer,
    } = sending;
    way.released(&connection);
    let send = async {
        outgoing.data(asked.signature.signature.clone()).await?;
        outgoing.close().await
    };
    // The answer is polled meanwhile, because that is what moves the connection when it has failed already.
    let mut early = None;
    tokio::pin!(send);
    loop {
        tokio::select! {
            sent = &mut send => {
                if sent.is_err() {
                    tracing::info!("the peer closed the connection before it had the signature");
                }
                break;
            }
            response = &mut answer, if early.is_none() => early = Some(response),
        }
    }
    let answer: Answer = match early {
        Some(response) => Box::pin(std::future::ready(response)),
        None => answer,
    };
    Ok(Released { connection, answer })
}

/// Sends everything but the signature again, over another connection.
///
/// # Errors
///
/// [`SealError::PeerGone`]: `way` leads no further, or the body is not kept. Else what the peer said.
pub(crate) async fn again(
    context: &Context,
    asked: &Asked,
    way: &mut Way,
    conf: &Arc<Snapshot>,
) -> Result<Sending, SealError> {
    if asked.has_body && asked.body.is_none() {
        return Err(SealError::PeerGone);
    }
    loop {
        let ocsp = own_ocsp(context, conf)?;
        let connection = way
            .another(context, &asked.identified, conf)
            .await
            .ok_or(SealError::PeerGone)?;
        let mut sending = Sending::start(context, &asked.identified, connection);
        let sent: Result<(), Stopped> = async {
            sending.message(&asked.identified, &ocsp).await?;
            match &asked.body {
                Some(body) => sending.body_again(body.clone()).await,
                None => Ok(()),
            }
        }
        .await;
        let Err(stopped) = sent else {
            return Ok(sending);
        };
        if let Some(error) = sending.last_words(context, stopped).await {
            return Err(error);
        }
    }
}
