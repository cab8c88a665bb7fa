//! What a web server answered, as archives keep it: header, transfer, compression, and character set.

use std::io::Read;

use super::encoding::detect;
use super::{Found, LONGEST_RECORD, Markup};

/// Bytes in which a page names its character set (HTML Living Standard, 13.2.3.2, has 1024; some need more).
const META: usize = 4096;

/// Adds a line of a header, `Name: value`, or one that goes on with the value before it.
pub(super) fn push_field(header: &mut Vec<(String, String)>, line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    if line.starts_with([' ', '\t'])
        && let Some((_, value)) = header.last_mut()
    {
        value.push(' ');
        value.push_str(line.trim());
    } else if let Some((name, value)) = line.split_once(':') {
        header.push((name.trim().to_owned(), value.trim().to_owned()));
    }
}

/// A value by its name, whatever its case.
pub(super) fn field<'a>(header: &'a [(String, String)], name: &str) -> Option<&'a str> {
    header.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The page or text of an answer; none where it is no success or holds neither.
pub(super) fn page(answer: &[u8]) -> Result<Option<Found>, String> {
    let (head, body) = divide(answer).ok_or("an answer without the end of its header")?;
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let status = lines.next().unwrap_or_default();
    let code = status.split(|byte| *byte == b' ').nth(1).and_then(|code| code.first());
    if code != Some(&b'2') {
        return Ok(None);
    }
    let mut header = Vec::new();
    lines.for_each(|line| push_field(&mut header, line));
    let is =
        |name: &str, value: &str| field(&header, name).is_some_and(|found| found.to_ascii_lowercase().contains(value));
    let content_type = field(&header, "Content-Type").unwrap_or_default().to_ascii_lowercase();
    if !is_text(&content_type, body) {
        return Ok(None);
    }
    let joined;
    let mut body = body;
    // Some archives keep the header of what they have already joined.
    if is("Transfer-Encoding", "chunked")
        && let Some(chunks) = join_chunks(body)
    {
        joined = chunks;
        body = &joined;
    }
    let encoding = field(&header, "Content-Encoding").unwrap_or_default().trim().to_ascii_lowercase();
    let plain;
    match decompress(body, &encoding) {
        Ok(Some(bytes)) => {
            plain = bytes;
            body = &plain;
        }
        Ok(None) => {}
        // Nor is what was already decompressed compressed.
        Err(_) if body.trim_ascii_start().starts_with(b"<") => {}
        Err(error) => return Err(format!("a body that is no {encoding}: {error}")),
    }
    Ok(content(body, &content_type))
}

/// Header and body.
fn divide(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    while let Some(end) = answer[at..].iter().position(|byte| *byte == b'\n').map(|end| at + end + 1) {
        let line = answer[end..].strip_prefix(b"\r").unwrap_or(&answer[end..]);
        if let Some(body) = line.strip_prefix(b"\n") {
            return Some((&answer[..end], body));
        }
        at = end;
    }
    None
}

fn is_text(content_type: &str, body: &[u8]) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    match kind {
        "text/html" | "application/xhtml+xml" | "text/plain" => true,
        "" => body.trim_ascii_start().first() == Some(&b'<'),
        _ => false,
    }
}

/// Text or page out of the bytes of a body.
pub(super) fn content(body: &[u8], content_type: &str) -> Option<Found> {
    if !is_text(content_type, body) {
        return None;
    }
    let encoding = encoding_rs::Encoding::for_bom(body)
        .map(|(encoding, _)| encoding)
        .or_else(|| charset(content_type.as_bytes()))
        .or_else(|| charset(&body[..body.len().min(META)]))
        .unwrap_or_else(|| detect(&body[..body.len().min(64 << 10)], body.len() <= 64 << 10));
    let (text, _, _) = encoding.decode(body);
    let markup = if content_type.starts_with("text/plain") { Markup::None } else { Markup::Page };
    Some(Found { text: text.replace('\0', ""), markup, ..Found::default() })
}

/// What follows `charset=`, where it is a character set.
fn charset(bytes: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let lower = bytes.to_ascii_lowercase();
    let at = lower.windows(8).position(|window| window == b"charset=")?;
    let label = lower[at + 8..].trim_ascii_start();
    let label = label.strip_prefix(b"\"").or_else(|| label.strip_prefix(b"'")).unwrap_or(label);
    let end = label.iter().position(|byte| !(byte.is_ascii_alphanumeric() || b"-_:.".contains(byte)));
    let found = encoding_rs::Encoding::for_label(&label[..end.unwrap_or(label.len())])?;
    // A page that could name its character set in ASCII is not in UTF-16 (HTML Living Standard, 13.2.3.3).
    let wide = found == encoding_rs::UTF_16LE || found == encoding_rs::UTF_16BE;
    Some(if wide { encoding_rs::UTF_8 } else { found })
}

/// Chunks in a row; none where they are no chunks. What was cut off is left out.
fn join_chunks(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut joined = Vec::new();
    loop {
        let end = body.iter().take(64).position(|byte| *byte == b'\n');
        let size = end.and_then(|end| {
            let line = std::str::from_utf8(&body[..end]).ok()?;
            usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()
        });
        let (Some(end), Some(size)) = (end, size) else { return (!joined.is_empty()).then_some(joined) };
        body = &body[end + 1..];
        if size == 0 {
            return Some(joined);
        }
        let size = size.min(body.len());
        joined.extend_from_slice(&body[..size]);
        body = &body[size..];
        body = body.strip_prefix(b"\r").unwrap_or(body);
        body = body.strip_prefix(b"\n").unwrap_or(body);
    }
}

/// A body without its compression, at most as long as a record may be; none where it has none.
fn decompress(body: &[u8], encoding: &str) -> std::io::Result<Option<Vec<u8>>> {
    let reader: Box<dyn Read> = match encoding {
        "gzip" | "x-gzip" => Box::new(flate2::bufread::MultiGzDecoder::new(body)),
        "deflate" if body.first().is_some_and(|byte| byte & 0x0F == 8) => {
            Box::new(flate2::bufread::ZlibDecoder::new(body))
        }
        "deflate" => Box::new(flate2::bufread::DeflateDecoder::new(body)),
        "br" => Box::new(brotli::Decompressor::new(body, 4096)),
        "zstd" => Box::new(zstd::stream::read::Decoder::with_buffer(body)?),
        _ => return Ok(None),
    };
    let mut bytes = Vec::new();
    let read = reader.take(LONGEST_RECORD as u64).read_to_end(&mut bytes);
    match read {
        // A page that was cut off is one all the same.
        Err(error) if bytes.is_empty() => Err(error),
        _ => Ok(Some(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: &[u8]) -> Option<String> {
        page(answer).expect("an answer").map(|found| found.text)
    }

    #[test]
    fn answers_are_taken_apart() {
        assert_eq!(text(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>a").unwrap(), "<p>a");
        assert_eq!(text(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n<p>a"), None);
        assert_eq!(text(b"HTTP/1.1 200 OK\nContent-Type: image/png\n\n<p>a"), None);
        assert_eq!(text(b"HTTP/1.1 200 OK\n\n<p>a").unwrap(), "<p>a");
        let chunked = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(text(&[&chunked[..], b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"].concat()).unwrap(), "abcde");
        assert_eq!(text(&[&chunked[..], b"not chunked"].concat()).unwrap(), "not chunked");
        assert_eq!(text(&[&chunked[..], b"ff\r\ncut"].concat()).unwrap(), "cut");
        assert!(page(b"HTTP/1.1 200 OK\r\nno end").is_err());
    }

    #[test]
    fn compression_and_character_sets_are_taken_off() {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"<p>caf\xE9").unwrap();
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Encoding: gzip\r\n\r\n";
        assert_eq!(text(&[&head[..], &encoder.finish().unwrap()].concat()).unwrap(), "<p>café");
        assert_eq!(text(&[&head[..], b"<p>caf\xE9"].concat()).unwrap(), "<p>café");
        assert!(page(&[&head[..], b"\x01\x02"].concat()).is_err());
        let meta = b"HTTP/1.1 200 OK\nContent-Type: text/html\n\n<meta charset='gbk'><p>\xC4\xE3";
        assert!(text(meta).unwrap().ends_with('你'));
    }
}
