//! The hashes by which the Hub names contents, SHA-256 of large files and Git's SHA-1 of small ones; and MD5, by which
//! stores name those that came in one piece.

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Whether a file has the contents that an entity tag names. Tags that are no hash say nothing.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn matches(path: &Path, tag: &str) -> io::Result<bool> {
    if !tag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(true);
    }
    let mut file = File::open(path)?;
    let found = match tag.len() {
        64 => hex(&feed(&mut file, Sha256::new())?),
        40 => {
            let length = file.metadata()?.len();
            let hasher = Sha1::new().chain_update(format!("blob {length}\0"));
            hex(&feed(&mut file, hasher)?)
        }
        _ => return Ok(true),
    };
    Ok(found.eq_ignore_ascii_case(tag))
}

/// Whether a file has this MD5. Tags that are none, as of what was written in parts, say nothing.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn is_md5(path: &Path, tag: &str) -> io::Result<bool> {
    if tag.len() != 32 || !tag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(true);
    }
    Ok(hex(&feed(&mut File::open(path)?, Md5::new())?).eq_ignore_ascii_case(tag))
}

fn feed<D: Digest>(file: &mut File, mut hasher: D) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().to_vec()),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_git_and_lfs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "hello\n").unwrap();
        // `printf 'hello\n' | git hash-object --stdin`, `printf 'hello\n' | sha256sum`
        assert!(matches(&path, "ce013625030ba8dba906f756967f9e9ca394464a").unwrap());
        assert!(matches(&path, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03").unwrap());
        assert!(!matches(&path, "ce013625030ba8dba906f756967f9e9ca394464b").unwrap());
        assert!(matches(&path, "something-else").unwrap());
        // `printf 'hello\n' | md5sum`
        assert!(is_md5(&path, "b1946ac92492d2347c6235b4d2611184").unwrap());
        assert!(!is_md5(&path, "b1946ac92492d2347c6235b4d2611185").unwrap());
        assert!(is_md5(&path, "b1946ac92492d2347c6235b4d2611185-2").unwrap());
    }
}
