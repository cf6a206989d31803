//! A deed of sale in PDF, of any size: a page of text and what passes for the scan of a signature.

use std::fmt::Write;

/// Smallest deed, in bytes.
pub const SMALLEST: usize = 8_192;

/// Makes a valid PDF of exactly `size` bytes ([`SMALLEST`] at least), the same for the same arguments.
///
/// `lines` are printed on its page, in ASCII; other characters become question marks.
#[must_use]
pub fn deed(lines: &[&str], size: usize) -> Vec<u8> {
    let size = size.max(SMALLEST);
    let text = page_text(lines);
    // Everything but the scan and the padding has one length for one text, because numbers have fixed widths.
    let frame = assemble(&text, &[], 0, 0).len();
    let spare = size.saturating_sub(frame);
    let rows = spare / WIDTH;
    assemble(
        &text,
        &scan(rows.saturating_mul(WIDTH)),
        rows,
        spare % WIDTH,
    )
}

fn assemble(text: &str, scan: &[u8], rows: usize, padding: usize) -> Vec<u8> {
    let mut pdf = Vec::with_capacity(scan.len().saturating_add(SMALLEST));
    pdf.extend_from_slice(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n");
    let mut offsets = Vec::new();
    let mut object = |pdf: &mut Vec<u8>, head: &str, stream: Option<&[u8]>| {
        offsets.push(pdf.len());
        pdf.extend_from_slice(format!("{} 0 obj\n{head}\n", offsets.len()).as_bytes());
        if let Some(stream) = stream {
            pdf.extend_from_slice(b"stream\n");
            pdf.extend_from_slice(stream);
            pdf.extend_from_slice(b"\nendstream\n");
        }
        pdf.extend_from_slice(b"endobj\n");
    };
    object(&mut pdf, "<< /Type /Catalog /Pages 2 0 R >>", None);
    object(&mut pdf, "<< /Type /Pages /Kids [3 0 R] /Count 1 >>", None);
    object(
        &mut pdf,
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R /Resources << /Font << /F1 4 0 R >> /XObject << /Scan 6 0 R >> >> >>",
        None,
    );
    object(
        &mut pdf,
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        None,
    );
    object(
        &mut pdf,
        &format!("<< /Length {} >>", text.len()),
        Some(text.as_bytes()),
    );
    let image = format!(
        "<< /Type /XObject /Subtype /Image /Width {WIDTH} /Height {rows:010} /ColorSpace /DeviceGray /BitsPerComponent 8 /Length {:010} >>",
        scan.len(),
    );
    object(&mut pdf, &image, Some(scan));
    pdf.push(b'%');
    pdf.resize(pdf.len().saturating_add(padding), b' ');
    pdf.push(b'\n');
    let table = pdf.len();
    let mut end = format!(
        "xref\n0 {}\n0000000000 65535 f \n",
        offsets.len().saturating_add(1)
    );
    for offset in &offsets {
        let _ = writeln!(end, "{offset:010} 00000 n "); // writing to a String does not fail
    }
    let _ = write!(
        end,
        "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table:010}\n%%EOF\n",
        offsets.len().saturating_add(1)
    );
    pdf.extend_from_slice(end.as_bytes());
    pdf
}

fn page_text(lines: &[&str]) -> String {
    let mut text = "BT /F1 12 Tf 16 TL 72 760 Td\n".to_owned();
    for line in lines.iter().take(16) {
        text.push('(');
        for character in line.chars().take(80) {
            match character {
                '(' | ')' | '\\' => text.extend(['\\', character]),
                ' '..='~' => text.push(character),
                _ => text.push('?'),
            }
        }
        text.push_str(") Tj T*\n");
    }
    text.push_str("ET\nq 200 0 0 100 72 120 cm /Scan Do Q");
    text
}

/// Grey noise that does not compress, from a generator with a fixed seed (xorshift64*).
fn scan(length: usize) -> Vec<u8> {
    let mut state = 0x6a69_6265_6b00_0001_u64;
    let mut noise = Vec::with_capacity(length.saturating_add(8));
    while noise.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        noise.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    noise.truncate(length);
    noise
}

/// Width of the scan in pixels of one byte.
const WIDTH: usize = 1_000;
