//! REST blocks as X-Road's verifier reads them, which asks for less than our wire does: what it can name the sender of, it judges.

use jibek_protocol::{
    header::is_dropped,
    id::{ClientId, ServiceId},
};

use super::{MessageFacts, MessageKind};
use crate::{container::Direction, lenient};

/// What a block says of itself that the strict reader would not read; `None` when X-Road's would not either.
pub(super) fn read(text: &str) -> Option<MessageFacts> {
    // a carriage return alone ends a line for X-Road's reader
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = text.lines();
    let first = lines.next()?;
    let second = lines.next().unwrap_or_default();
    let headers: Vec<(&str, &str)> = lines
        .map(|line| line.split_once(':'))
        .collect::<Option<_>>()?;
    if headers.iter().any(|(name, _)| is_dropped(name)) {
        return None;
    }
    // of several headers of one name the last counts
    let header = |wanted: &str| {
        let last = headers
            .iter()
            .rev()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        last.map(|(_, value)| (*value).to_owned())
    };
    let client = ClientId::from_header(&header("x-road-client")?).ok()?;
    let is_response = first.starts_with(|c: char| ('1'..='9').contains(&c));
    let (service, operation, status) = if is_response {
        let hash = lenient::binding(&header("x-road-request-hash")?)?;
        header("x-road-id").filter(|id| !id.is_empty() && !hash.is_empty())?;
        let service = ServiceId::parse_service_header(&header("x-road-service")?).ok()?;
        (service, None, Some(first.parse().ok()?))
    } else {
        let service = VERBS.contains(&first).then(|| service(second))??;
        (service, Some(format!("{first} {second}")), None)
    };
    Some(MessageFacts {
        kind: MessageKind::Rest,
        direction: if is_response {
            Direction::Response
        } else {
            Direction::Request
        },
        client,
        service,
        message_id: header("x-road-id").unwrap_or_default(),
        issue: header("x-road-issue"),
        operation,
        represented_party: None,
        request_id: header("x-road-request-id"),
        status,
        user_id: header("x-road-userid"),
    })
}

/// The service in the path of a request: `/r1/` and five parts.
fn service(target: &str) -> Option<ServiceId> {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "\"<>\\^`{|}".contains(c);
    if target.starts_with("//") || target.contains(is_odd) {
        return None;
    }
    let path = target.split(['?', '#']).next()?;
    let parts: Vec<&str> = path.splitn(8, '/').collect();
    match parts.as_slice() {
        ["", "r1", instance, class, member, subsystem, code, ..] => {
            let id = [*instance, *class, *member, *subsystem, *code].join("/");
            ServiceId::parse_service_header(&id).ok()
        }
        _ => None,
    }
}

const VERBS: [&str; 8] = [
    "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];
