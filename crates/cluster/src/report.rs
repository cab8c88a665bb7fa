//! A worker's error on its way through Ballista, which puts words of its own around it and quotes it.

use loam_corpus::CorpusError;
use std::fmt::Write as _;

const BEGIN: &str = "loam-error[";
const HINT: &str = "\n  hint: ";

/// An error as text that survives being quoted, its first line readable.
pub(crate) fn pack(error: &CorpusError) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let mut packed = format!("{first} {BEGIN}");
    for byte in text.bytes() {
        let _ = write!(packed, "{byte:02x}");
    }
    packed + "]"
}

/// The error in what Ballista says, if it is one of ours.
pub(crate) fn unpack(said: &str) -> Option<CorpusError> {
    let (_, after) = said.split_once(BEGIN)?;
    let (digits, _) = after.split_once(']')?;
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    let text = String::from_utf8(bytes?).ok()?;
    let (message, hint) = text.split_once(HINT).unwrap_or((&text, ""));
    Some(CorpusError::invalid(message, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_survive_quoting() {
        for (message, hint) in [("文件.jsonl: \"wrong\"\nat ]line 3", "mend it"), ("no hint", "")] {
            let error = CorpusError::invalid(message, hint);
            let quoted = format!("Job 7 failed: {:?}", format!("{:?}", pack(&error)));
            assert_eq!(unpack(&quoted).unwrap().to_string(), error.to_string());
        }
        for other in ["", "Job failed", "loam-error[", "loam-error[zz]", "loam-error[ff]"] {
            assert!(unpack(other).is_none(), "{other}");
        }
    }
}
