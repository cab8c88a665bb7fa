//! Encodings: text in any of them in, UTF-8 out.
//!
//! Most files are UTF-8, and most others are UTF-16 with a mark, so that nothing needs to be guessed. For the rest the first
//! bytes beyond ASCII decide, by the detector that browsers use. A file that is UTF-8 but for a few bytes is damaged
//! UTF-8, not a text in an encoding in which every byte means something.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{CoderResult, Decoder, UTF_8, UTF_16BE, UTF_16LE};
use serde::{Deserialize, Serialize};

/// Bytes that are looked at before an encoding is settled.
const PROBE: usize = 64 << 10;
/// Characters of UTF-8 beyond ASCII for one sequence that is none: fewer, and the text is in another encoding.
const FEWEST: usize = 10;

/// The encoding of a source's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TextEncoding {
    /// Found by looking, file by file.
    #[default]
    Detect,
    /// This one.
    Named(&'static encoding_rs::Encoding),
}

impl FromStr for TextEncoding {
    type Err = String;

    /// `auto`, or a label of the Encoding Standard: `utf-8`, `gb18030`, `big5`, `shift_jis`, `latin1`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Detect);
        }
        encoding_rs::Encoding::for_label(text.as_bytes()).map(Self::Named).ok_or_else(|| {
            format!(
                "no encoding \"{text}\"; there are auto, utf-8, utf-16le, gb18030, big5, shift_jis, euc-kr, latin1, …"
            )
        })
    }
}

impl TryFrom<String> for TextEncoding {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TextEncoding> for String {
    fn from(encoding: TextEncoding) -> Self {
        encoding.to_string()
    }
}

impl fmt::Display for TextEncoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Detect => "auto",
            Self::Named(encoding) => encoding.name(),
        })
    }
}

/// Which encoding bytes are in; `whole` where no more follow. Bytes that are UTF-8 but for damage are UTF-8.
pub(crate) fn detect(bytes: &[u8], whole: bool) -> &'static encoding_rs::Encoding {
    if let Some((encoding, _)) = encoding_rs::Encoding::for_bom(bytes) {
        return encoding;
    }
    if let Some(encoding) = unmarked_utf_16(bytes) {
        return encoding;
    }
    let (characters, wrong) = utf_8_census(bytes);
    if wrong == 0 || characters >= FEWEST * wrong || bytes.contains(&0) {
        return UTF_8;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, whole);
    match detector.guess(None, Utf8Detection::Deny) {
        // What GBK has, GB18030 has too, and its decoder is the same.
        encoding if encoding == encoding_rs::GBK => encoding_rs::GB18030,
        encoding => encoding,
    }
}

/// UTF-16 of mostly Latin text has a zero in nearly every second byte.
fn unmarked_utf_16(bytes: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let bytes = &bytes[..bytes.len().min(1024) & !1];
    if bytes.len() < 16 {
        return None;
    }
    let zeros = |first: usize| bytes.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd, pairs) = (zeros(0), zeros(1), bytes.len() / 2);
    match (even, odd) {
        (0, odd) if odd * 10 >= pairs * 9 => Some(UTF_16LE),
        (even, 0) if even * 10 >= pairs * 9 => Some(UTF_16BE),
        _ => None,
    }
}

/// Characters beyond ASCII, and sequences that are none.
fn utf_8_census(bytes: &[u8]) -> (usize, usize) {
    let (mut characters, mut wrong, mut rest) = (0, 0, bytes);
    loop {
        let (valid, error) = match std::str::from_utf8(rest) {
            Ok(valid) => (valid.as_bytes(), None),
            Err(error) => (&rest[..error.valid_up_to()], Some(error)),
        };
        characters += valid.iter().filter(|byte| **byte >= 0xC0).count();
        // A character that the end cuts says nothing: more may follow, or the file was cut.
        let Some((at, Some(length))) = error.map(|error| (error.valid_up_to(), error.error_len())) else {
            return (characters, wrong);
        };
        wrong += 1;
        rest = &rest[at + length..];
    }
}

/// What is known of an encoding so far.
enum State {
    /// Only ASCII was seen.
    Open,
    /// Bytes pass as they are.
    Plain,
    /// Bytes are decoded.
    Decoding(Box<Decoder>),
}

/// A reader of UTF-8 out of a reader of bytes.
pub(super) struct Utf8 {
    input: Box<dyn Read + Send>,
    state: State,
    /// Bytes read and not yet given or decoded.
    raw: Vec<u8>,
    start: usize,
    /// UTF-8 decoded and not yet given.
    decoded: Vec<u8>,
    given: usize,
    ended: bool,
    /// Whether the decoder was told that nothing follows.
    finished: bool,
}

impl Utf8 {
    pub(super) fn new(input: Box<dyn Read + Send>, encoding: TextEncoding) -> Self {
        let state = match encoding {
            TextEncoding::Detect => State::Open,
            TextEncoding::Named(encoding) => State::of(encoding),
        };
        Self { input, state, raw: Vec::new(), start: 0, decoded: Vec::new(), given: 0, ended: false, finished: false }
    }

    /// Reads until so many bytes wait, or the input ends.
    fn fill(&mut self, most: usize) -> io::Result<()> {
        self.raw.drain(..self.start);
        self.start = 0;
        while self.raw.len() < most && !self.ended {
            let from = self.raw.len();
            self.raw.resize(most, 0);
            let count = match self.input.read(&mut self.raw[from..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.raw.truncate(from);
                    continue;
                }
                read => read.inspect_err(|_| self.raw.truncate(from))?,
            };
            self.raw.truncate(from + count);
            self.ended = count == 0;
        }
        Ok(())
    }

    fn give(&mut self, buffer: &mut [u8], most: usize) -> usize {
        let count = buffer.len().min(most);
        buffer[..count].copy_from_slice(&self.raw[self.start..self.start + count]);
        self.start += count;
        count
    }
}

impl State {
    fn of(encoding: &'static encoding_rs::Encoding) -> Self {
        if encoding == UTF_8 { Self::Plain } else { Self::Decoding(Box::new(encoding.new_decoder_with_bom_removal())) }
    }
}

impl Read for Utf8 {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.state {
                State::Plain => {
                    if self.start < self.raw.len() {
                        return Ok(self.give(buffer, self.raw.len() - self.start));
                    }
                    return self.input.read(buffer);
                }
                State::Open => {
                    if self.start == self.raw.len() {
                        self.fill(PROBE)?;
                        if self.raw.is_empty() {
                            return Ok(0);
                        }
                    }
                    let waiting = &self.raw[self.start..];
                    let ascii = waiting.iter().position(|byte| !(1..0x80).contains(byte)).unwrap_or(waiting.len());
                    if ascii > 0 && !waiting.contains(&0) {
                        return Ok(self.give(buffer, ascii));
                    }
                    // From the first byte beyond ASCII on, as many as are looked at.
                    self.fill(PROBE)?;
                    self.state = State::of(detect(&self.raw, self.ended));
                }
                State::Decoding(decoder) => {
                    if self.given < self.decoded.len() {
                        let count = buffer.len().min(self.decoded.len() - self.given);
                        buffer[..count].copy_from_slice(&self.decoded[self.given..self.given + count]);
                        self.given += count;
                        return Ok(count);
                    }
                    if self.finished {
                        return Ok(0);
                    }
                    self.decoded.resize(4 * PROBE, 0);
                    self.given = 0;
                    let last = self.ended;
                    let (result, read, written, _) =
                        decoder.decode_to_utf8(&self.raw[self.start..], &mut self.decoded, last);
                    self.decoded.truncate(written);
                    self.start += read;
                    self.finished = last && result == CoderResult::InputEmpty;
                    if result == CoderResult::InputEmpty && written == 0 && !last {
                        // At the end, what the decoder still holds comes out with the word that nothing follows.
                        self.fill(PROBE)?;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte at a time, as the slowest input gives them.
    struct Slow(Vec<u8>, usize);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = usize::from(self.1 < self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[self.1..self.1 + count]);
            self.1 += count;
            Ok(count)
        }
    }

    fn read(bytes: &[u8], encoding: TextEncoding) -> String {
        let mut text = String::new();
        Utf8::new(Box::new(Slow(bytes.to_vec(), 0)), encoding).read_to_string(&mut text).expect("UTF-8 comes out");
        text
    }

    #[test]
    fn common_encodings_are_found() {
        let chinese = "第一回　甄士隱夢幻識通靈　賈雨村風塵懷閨秀。此開卷第一回也。";
        let simple = "此开卷第一回也。作者自云：曾历过一番梦幻之后，故将真事隐去。";
        let japanese = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。";
        let french = "Où est la bibliothèque ? L'élève préfère le café crème à côté, déjà à Noël.";
        for (text, encoding) in [
            (simple, encoding_rs::GBK),
            (chinese, encoding_rs::BIG5),
            (japanese, encoding_rs::SHIFT_JIS),
            (japanese, encoding_rs::EUC_JP),
            (french, encoding_rs::WINDOWS_1252),
            (french, UTF_8),
        ] {
            let (bytes, _, lost) = encoding.encode(text);
            assert!(!lost, "{}", encoding.name());
            assert_eq!(read(&bytes, TextEncoding::Detect), text, "{}", encoding.name());
            // A long stretch of ASCII before does not decide.
            let long = ["plain ".repeat(40_000).as_bytes(), &bytes].concat();
            assert!(read(&long, TextEncoding::Detect).ends_with(text), "{} after ASCII", encoding.name());
        }
        for mark in [true, false] {
            for big in [true, false] {
                let units = mark.then_some(0xFEFF).into_iter().chain("plain words, é".encode_utf16());
                let bytes: Vec<u8> =
                    units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect();
                assert_eq!(read(&bytes, TextEncoding::Detect), "plain words, é", "{mark} {big}");
            }
        }
    }

    #[test]
    fn damaged_utf_8_is_utf_8() {
        let mut bytes = "红楼梦".repeat(50).into_bytes();
        bytes[7] = 0xFF;
        assert_eq!(detect(&bytes, true), UTF_8);
        assert_eq!(detect("plain".as_bytes(), true), UTF_8);
        assert_eq!(detect(b"", true), UTF_8);
        assert_eq!(detect(&"cut short 水".as_bytes()[..12], true), UTF_8);
    }

    #[test]
    fn a_named_encoding_is_not_questioned() {
        let named = |name: &str| name.parse::<TextEncoding>().unwrap();
        assert_eq!(read(b"caf\xE9", named("latin1")), "café");
        assert_eq!(read("café".as_bytes(), named("latin1")), "cafÃ©");
        assert!("klingon".parse::<TextEncoding>().unwrap_err().contains("gb18030"));
        assert_eq!(named("auto").to_string(), "auto");
    }
}
