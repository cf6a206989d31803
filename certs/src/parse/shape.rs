//! Whether a certificate's elements are of the types that they must be, as readers that take all of it apart demand.
//!
//! X-Road's library reads the certificates inside an OCSP response so, also those that nobody needs; ours, made for certificates
//! that are used, passes over a few elements of a wrong type. What stands in names, key and extensions is not judged here.

use crate::well_formed::well_formed;

/// Whether the DER of a certificate that could be read has the shape of one all through.
pub(crate) fn is_shaped(der: &[u8]) -> bool {
    well_formed(der).is_ok() && certificate(der).is_some()
}

fn certificate(der: &[u8]) -> Option<()> {
    let mut outer = Elements(only(der, SEQUENCE)?);
    let mut tbs = Elements(outer.next(SEQUENCE)?);
    algorithm(outer.next(SEQUENCE)?)?;
    bits(outer.next(BIT_STRING)?)?;
    outer.end()?;

    if tbs.peek() == Some(VERSION) {
        only(tbs.next(VERSION)?, INTEGER)?;
    }
    tbs.next(INTEGER)?;
    algorithm(tbs.next(SEQUENCE)?)?;
    name(tbs.next(SEQUENCE)?)?;
    tbs.next(SEQUENCE)?;
    name(tbs.next(SEQUENCE)?)?;
    key(tbs.next(SEQUENCE)?)?;
    for unique_id in [ISSUER_ID, SUBJECT_ID] {
        if tbs.peek() == Some(unique_id) {
            tbs.next(unique_id)?;
        }
    }
    if tbs.peek() == Some(EXTENSIONS) {
        extensions(only(tbs.next(EXTENSIONS)?, SEQUENCE)?)?;
    }
    tbs.end()
}

fn algorithm(content: &[u8]) -> Option<()> {
    Elements(content).next(OBJECT_ID).map(drop)
}

fn name(content: &[u8]) -> Option<()> {
    let mut names = Elements(content);
    while !names.0.is_empty() {
        let mut parts = Elements(names.next(SET)?);
        while !parts.0.is_empty() {
            let mut part = Elements(parts.next(SEQUENCE)?);
            part.next(OBJECT_ID)?;
            part.any()?;
            part.end()?;
        }
    }
    Some(())
}

/// A key; one of RSA is two numbers.
fn key(content: &[u8]) -> Option<()> {
    let mut key = Elements(content);
    let mut algorithm = Elements(key.next(SEQUENCE)?);
    let kind = algorithm.next(OBJECT_ID)?;
    let value = bits(key.next(BIT_STRING)?)?;
    key.end()?;
    if kind == RSA {
        if !algorithm.0.is_empty() {
            algorithm.next(NULL).filter(|null| null.is_empty())?;
            algorithm.end()?;
        }
        let mut numbers = Elements(only(value, SEQUENCE)?);
        for _ in 0..2 {
            let number = numbers.next(INTEGER)?;
            number.first().filter(|first| **first < 0x80)?;
        }
        numbers.end()?;
    }
    Some(())
}

fn extensions(content: &[u8]) -> Option<()> {
    let mut all = Elements(content);
    while !all.0.is_empty() {
        let mut extension = Elements(all.next(SEQUENCE)?);
        extension.next(OBJECT_ID)?;
        if extension.peek() == Some(BOOLEAN) {
            extension.next(BOOLEAN)?;
        }
        extension.next(OCTET_STRING)?;
        extension.end()?;
    }
    Some(())
}

/// What a bit string of whole bytes holds.
fn bits(content: &[u8]) -> Option<&[u8]> {
    match content {
        [0, bits @ ..] => Some(bits),
        _ => None,
    }
}

/// The content of an element that stands alone.
fn only(der: &[u8], tag: u8) -> Option<&[u8]> {
    let mut elements = Elements(der);
    let content = elements.next(tag)?;
    elements.end()?;
    Some(content)
}

/// Elements of definite length, one after the other.
struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        (self.peek()? == tag).then(|| self.any()).flatten()
    }

    fn any(&mut self) -> Option<&'a [u8]> {
        let (_, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            short @ 0..=0x7f => (usize::from(*short), rest),
            long => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                let length = bytes.iter().try_fold(0_usize, |length, byte| {
                    length.checked_mul(256)?.checked_add(usize::from(*byte))
                })?;
                (length, rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// 1.2.840.113549.1.1.1.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
