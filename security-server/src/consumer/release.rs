//! The signature leaves. From here on the provider may act.

use super::{identify::Identified, record::RecordedRequest, seal::Answer};
use crate::peers::PeerConnection;

/// A request that the peer has whole.
pub(crate) struct Released {
    pub(super) identified: Identified,
    pub(super) request_hash: String,
    pub(super) connection: PeerConnection,
    pub(super) answer: Answer,
}

impl std::fmt::Debug for Released {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Released").finish_non_exhaustive()
    }
}

/// Sends the signature parts.
///
/// A peer that went away meanwhile is no error here: what it said before, or that it said nothing, shows when the
/// answer is opened.
pub(crate) async fn request(recorded: RecordedRequest) -> Released {
    let RecordedRequest {
        identified,
        signature,
        request_hash,
        sending,
    } = recorded;
    let mut outgoing = sending.outgoing;
    let mut answer = sending.answer;
    let send = async {
        outgoing.signature(&signature).await?;
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
    Released {
        identified,
        request_hash,
        connection: sending.connection,
        answer,
    }
}
