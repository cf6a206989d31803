//! The pass over an envelope.

use std::ops::Range;

use super::hash::HashPlace;
use super::{ID_BYTES, ScannedSoap, SoapError, SoapHeader};
use crate::fault::Fault;
use crate::header::{NS_IDENTIFIERS, NS_REPRESENTATION, NS_SOAP, NS_XROAD};
use crate::id::xml::{DuplicatePart, XmlParts};
use crate::id::{ClientId, IdError, RepresentedParty, ServerId, ServiceId};
use crate::limits;
use crate::xml::{StartTag, XmlError, XmlEvent, XmlReader, malformed, push_text};

/// Reads the envelope in `reader`, whose text is `source`.
pub(super) fn envelope(mut reader: XmlReader<'_>, source: &str) -> Result<ScannedSoap, SoapError> {
    let root = next_child(&mut reader)?.ok_or(SoapError::NotEnvelope)?;
    if !root.is(NS_SOAP, "Envelope") {
        // a malformed document is that first of all
        drain(&mut reader)?;
        return Err(SoapError::NotEnvelope);
    }
    let mut header = None;
    let mut body = None;
    while let Some(child) = next_child(&mut reader)? {
        if child.is(NS_SOAP, "Header") && header.is_none() {
            header = Some(Fields::read(&mut reader, source)?);
        } else if child.is(NS_SOAP, "Body") && body.is_none() {
            body = Some(Body::read(&mut reader)?);
        } else if child.is(NS_SOAP, "Header") || child.is(NS_SOAP, "Body") {
            return Err(SoapError::NotEnvelope);
        } else {
            skip(&mut reader)?;
        }
    }
    drain(&mut reader)?;

    if let Some(Body {
        fault: Some(fault),
        first,
        ..
    }) = body
    {
        let header = header.and_then(|fields| fields.finish().ok());
        let (header, hash_place) = header.unzip();
        return Ok(ScannedSoap {
            header,
            fault: Some(fault),
            body_element: first,
            hash_place,
        });
    }
    let (header, hash_place) = header.ok_or(SoapError::MissingHeader)?.finish()?;
    let body = body.ok_or(SoapError::MissingBody)?;
    if body.children != 1 {
        return Err(SoapError::InvalidBody {
            children: body.children,
        });
    }
    if !body.first.starts_with(header.service.code()) {
        let service_code = header.service.code().to_owned();
        return Err(SoapError::InconsistentHeaders {
            body_element: body.first,
            service_code,
        });
    }
    Ok(ScannedSoap {
        header: Some(header),
        fault: None,
        body_element: body.first,
        hash_place: Some(hash_place),
    })
}

/// Header elements as they are found.
#[derive(Default)]
struct Fields {
    client: Option<ClientId>,
    service: Option<ServiceId>,
    security_server: Option<ServerId>,
    represented_party: Option<RepresentedParty>,
    id: Option<String>,
    protocol_version: Option<String>,
    user_id: Option<String>,
    issue: Option<String>,
    request_hash: Option<String>,
    hash_place: Option<HashPlace>,
    old_hashes: Vec<Range<usize>>,
    /// The first thing wrong; a fault may stand under a bad header, so it is told only when it matters.
    wrong: Option<SoapError>,
}

impl Fields {
    fn read(reader: &mut XmlReader<'_>, source: &str) -> Result<Self, SoapError> {
        let mut fields = Self::default();
        let mut indent = "";
        while let Some(event) = reader.next_event().map_err(SoapError::Xml)? {
            match event {
                XmlEvent::Text(text) => indent = text,
                XmlEvent::Reference(_) => indent = "",
                XmlEvent::End { .. } => return Ok(fields),
                XmlEvent::Start(tag) => {
                    let indent = std::mem::take(&mut indent);
                    fields.read_element(reader, source, &tag, indent)?;
                }
            }
        }
        Err(too_early())
    }

    fn read_element(
        &mut self,
        reader: &mut XmlReader<'_>,
        source: &str,
        tag: &StartTag<'_>,
        indent: &str,
    ) -> Result<(), SoapError> {
        let done = match (tag.namespace.as_deref(), tag.local) {
            (Some(NS_XROAD), "client") => {
                let id = identifier(
                    reader,
                    tag,
                    CLIENT,
                    &["MEMBER", "SUBSYSTEM"],
                    XmlParts::client,
                )?;
                keep(&mut self.client, CLIENT, id)
            }
            (Some(NS_XROAD), "service") => {
                let id = identifier(reader, tag, SERVICE, &["SERVICE"], XmlParts::service)?;
                keep(&mut self.service, SERVICE, id)
            }
            (Some(NS_XROAD), "securityServer") => {
                let id = identifier(reader, tag, SECURITY_SERVER, &["SERVER"], XmlParts::server)?;
                keep(&mut self.security_server, SECURITY_SERVER, id)
            }
            (Some(NS_REPRESENTATION), "representedParty") => keep(
                &mut self.represented_party,
                REPRESENTED_PARTY,
                party(reader)?,
            ),
            (Some(NS_XROAD), "id") => {
                let value = element_text(reader, ID, ID_BYTES)?;
                self.hash_place = Some(HashPlace::new(source, tag, value.range.end, indent));
                keep(&mut self.id, ID, Ok(value.text))
            }
            (Some(NS_XROAD), "protocolVersion") => {
                let value = element_text(reader, PROTOCOL_VERSION, HEADER_BYTES)?;
                keep(&mut self.protocol_version, PROTOCOL_VERSION, Ok(value.text))
            }
            (Some(NS_XROAD), "userId") => keep(
                &mut self.user_id,
                "userId",
                Ok(element_text(reader, "userId", HEADER_BYTES)?.text),
            ),
            (Some(NS_XROAD), "issue") => keep(
                &mut self.issue,
                "issue",
                Ok(element_text(reader, "issue", HEADER_BYTES)?.text),
            ),
            (Some(NS_XROAD), "requestHash") => {
                let value = element_text(reader, REQUEST_HASH, HEADER_BYTES)?;
                self.old_hashes.push(tag.range.start..value.range.end);
                keep(&mut self.request_hash, REQUEST_HASH, Ok(value.text))
            }
            _ => {
                skip(reader)?;
                Ok(())
            }
        };
        if let Err(error) = done {
            self.wrong.get_or_insert(error);
        }
        Ok(())
    }

    /// Checks in X-Road's order.
    fn finish(self) -> Result<(SoapHeader, HashPlace), SoapError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let missing = |field| SoapError::MissingHeaderField { field };
        let protocol_version = self.protocol_version.ok_or(missing(PROTOCOL_VERSION))?;
        if !protocol_version.starts_with("4.") {
            return Err(SoapError::ProtocolVersion {
                found: protocol_version,
            });
        }
        let client = self.client.ok_or(missing(CLIENT))?;
        let id = self.id.ok_or(missing(ID))?;
        let service = self.service.ok_or(missing(SERVICE))?;
        let mut hash_place = self.hash_place.ok_or(missing(ID))?;
        hash_place.remove(self.old_hashes);
        let header = SoapHeader {
            client,
            service,
            id,
            protocol_version,
            user_id: self.user_id,
            issue: self.issue,
            security_server: self.security_server,
            represented_party: self.represented_party,
            request_hash: self.request_hash,
        };
        Ok((header, hash_place))
    }
}

/// The body: its children are counted, a fault is read, all else is passed over.
#[derive(Default)]
struct Body {
    children: usize,
    first: String,
    fault: Option<Fault>,
}

impl Body {
    fn read(reader: &mut XmlReader<'_>) -> Result<Self, SoapError> {
        let mut body = Self::default();
        while let Some(child) = next_child(reader)? {
            body.children += 1;
            if body.children == 1 {
                child.local.clone_into(&mut body.first);
            }
            if child.is(NS_SOAP, "Fault") && body.fault.is_none() {
                body.fault = Some(fault(reader)?);
            } else {
                skip(reader)?;
            }
        }
        Ok(body)
    }
}

/// Children of a fault, by local name in any namespace.
fn fault(reader: &mut XmlReader<'_>) -> Result<Fault, SoapError> {
    let (mut code, mut message, mut actor, mut detail) =
        (String::new(), String::new(), String::new(), None);
    while let Some(child) = next_child(reader)? {
        let what = "fault";
        match child.local {
            "faultcode" => {
                code = element_text(reader, what, HEADER_BYTES)?
                    .text
                    .trim()
                    .to_owned()
            }
            "faultstring" => message = element_text(reader, what, HEADER_BYTES)?.text,
            "faultactor" => actor = element_text(reader, what, HEADER_BYTES)?.text,
            "detail" => detail = fault_detail(reader)?,
            _ => skip(reader)?,
        }
    }
    Ok(Fault::read(code, message, actor, detail))
}

/// Text of `faultDetail`, else the direct text of the detail.
fn fault_detail(reader: &mut XmlReader<'_>) -> Result<Option<String>, SoapError> {
    let mut own = String::new();
    let mut inner = None;
    loop {
        match reader
            .next_event()
            .map_err(SoapError::Xml)?
            .ok_or(too_early())?
        {
            XmlEvent::Start(tag) if tag.local == "faultDetail" => {
                inner = Some(element_text(reader, "fault", HEADER_BYTES)?.text);
            }
            XmlEvent::Start(_) => skip(reader)?,
            XmlEvent::Text(raw) => push(&mut own, raw, "fault", HEADER_BYTES)?,
            XmlEvent::Reference(c) if own.len() < HEADER_BYTES => own.push(c),
            XmlEvent::Reference(_) => {
                return Err(SoapError::TooLarge {
                    what: "fault",
                    max: HEADER_BYTES,
                });
            }
            XmlEvent::End { .. } => break,
        }
    }
    Ok(inner.or(Some(own).filter(|own| !own.trim().is_empty())))
}

/// An identifier, or what is wrong with it; only refused XML ends the scan.
fn identifier<T>(
    reader: &mut XmlReader<'_>,
    tag: &StartTag<'_>,
    field: &'static str,
    types: &[&str],
    build: fn(&XmlParts) -> Result<T, IdError>,
) -> Result<Result<T, SoapError>, SoapError> {
    let object_type = tag
        .attribute(Some(NS_IDENTIFIERS), "objectType")
        .map(str::to_owned);
    let mut parts = XmlParts::new();
    let mut wrong = None;
    while let Some(child) = next_child(reader)? {
        if child.namespace.as_deref() != Some(NS_IDENTIFIERS) {
            skip(reader)?;
            continue;
        }
        let value = element_text(reader, field, HEADER_BYTES)?.text;
        if let Err(DuplicatePart { part }) = parts.set(child.local, value) {
            wrong.get_or_insert(SoapError::DuplicateHeaderField { field: part });
        }
    }
    if !object_type
        .as_deref()
        .is_some_and(|found| types.contains(&found))
    {
        return Ok(Err(SoapError::ObjectType {
            field,
            found: object_type,
        }));
    }
    Ok(match wrong {
        Some(wrong) => Err(wrong),
        None => build(&parts).map_err(|source| SoapError::Identifier { field, source }),
    })
}

fn party(reader: &mut XmlReader<'_>) -> Result<Result<RepresentedParty, SoapError>, SoapError> {
    let (mut class, mut code) = (None, None);
    let mut wrong = Ok(());
    while let Some(child) = next_child(reader)? {
        let (place, field) = match (child.namespace.as_deref(), child.local) {
            (Some(NS_REPRESENTATION), "partyClass") => (&mut class, "partyClass"),
            (Some(NS_REPRESENTATION), "partyCode") => (&mut code, "partyCode"),
            _ => {
                skip(reader)?;
                continue;
            }
        };
        let value = element_text(reader, field, HEADER_BYTES)?.text;
        wrong = wrong.and(keep(place, field, Ok(value)));
    }
    if let Err(wrong) = wrong {
        return Ok(Err(wrong));
    }
    let Some(code) = code else {
        return Ok(Err(SoapError::MissingHeaderField { field: "partyCode" }));
    };
    let party = RepresentedParty::new(class.as_deref(), &code);
    Ok(party.map_err(|source| SoapError::Identifier {
        field: REPRESENTED_PARTY,
        source,
    }))
}

fn keep<T>(
    place: &mut Option<T>,
    field: &'static str,
    value: Result<T, SoapError>,
) -> Result<(), SoapError> {
    if place.is_some() {
        return Err(SoapError::DuplicateHeaderField { field });
    }
    *place = Some(value?);
    Ok(())
}

struct ElementText {
    text: String,
    /// The element's end tag.
    range: Range<usize>,
}

/// Direct text of the element that started last, not trimmed; elements inside are passed over.
fn element_text(
    reader: &mut XmlReader<'_>,
    what: &'static str,
    max: usize,
) -> Result<ElementText, SoapError> {
    let mut text = String::new();
    loop {
        match reader
            .next_event()
            .map_err(SoapError::Xml)?
            .ok_or(too_early())?
        {
            XmlEvent::Text(raw) => push(&mut text, raw, what, max)?,
            // a reference may stand for a carriage return, which no line-end rule touches
            XmlEvent::Reference(c) if text.len() < max => text.push(c),
            XmlEvent::Reference(_) => return Err(SoapError::TooLarge { what, max }),
            XmlEvent::Start(_) => skip(reader)?,
            XmlEvent::End { range } => return Ok(ElementText { text, range }),
        }
    }
}

fn push(text: &mut String, raw: &str, what: &'static str, max: usize) -> Result<(), SoapError> {
    if text.len() + raw.len() > max {
        return Err(SoapError::TooLarge { what, max });
    }
    push_text(text, raw);
    Ok(())
}

/// The next child element of the one that is open, or nothing at its end. Text between is passed over.
fn next_child<'a>(reader: &mut XmlReader<'a>) -> Result<Option<StartTag<'a>>, SoapError> {
    loop {
        match reader.next_event().map_err(SoapError::Xml)? {
            Some(XmlEvent::Start(tag)) => return Ok(Some(tag)),
            Some(XmlEvent::End { .. }) | None => return Ok(None),
            Some(XmlEvent::Text(_) | XmlEvent::Reference(_)) => {}
        }
    }
}

fn skip(reader: &mut XmlReader<'_>) -> Result<(), SoapError> {
    reader.skip_element().map(drop).map_err(SoapError::Xml)
}

/// Reads to the end, because what follows the root must be well-formed too.
fn drain(reader: &mut XmlReader<'_>) -> Result<(), SoapError> {
    while reader.next_event().map_err(SoapError::Xml)?.is_some() {}
    Ok(())
}

fn too_early() -> SoapError {
    let error: XmlError = malformed("the document ends too early", 0);
    SoapError::Xml(error)
}

const CLIENT: &str = "client";
const SERVICE: &str = "service";
const SECURITY_SERVER: &str = "securityServer";
const REPRESENTED_PARTY: &str = "representedParty";
const ID: &str = "id";
const PROTOCOL_VERSION: &str = "protocolVersion";
const REQUEST_HASH: &str = "requestHash";
const HEADER_BYTES: usize = limits::SOAP_HEADER_VALUE_BYTES;
