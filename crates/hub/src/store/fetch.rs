//! Objects that come in as many pieces as the network makes of them.

use super::cache::{Cache, bare};
use super::client::{Answer, Client, Failed, Object, Request};
use crate::download::{Stopped, TRIES, copy, header, pause};
use crate::error::HubError;
use crate::hash;
use rusty_s3::Method;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use ureq::Body;
use ureq::http::{Response, StatusCode};

/// How often an object may change while it is fetched.
const CHANGES: usize = 3;
/// What stores say with contents whose tag is no MD5 although it looks like one: they are encrypted with a key of the
/// user's.
const ENCRYPTED: [&str; 3] = [
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-goog-encryption-kms-key-name",
];

/// How fetching ended.
enum Ended {
    /// All of it is there. With whether its tag is no hash of it.
    Whole(bool),
    /// It is no longer what it was.
    Changed,
}

/// Has an object's contents in the cache, from the store where they are not there yet. One that changes meanwhile is
/// fetched as it is then.
pub(super) fn have(client: &Client, cache: &Cache, object: &Object) -> Result<PathBuf, HubError> {
    let mut object = object.clone();
    for _ in 0..CHANGES {
        let lock = cache.lock(&object)?;
        let file = match cache.whole(&object) {
            Some(file) => Some(file),
            None => fetch(client, cache, &object)?,
        };
        if let Some(file) = file {
            cache.note(&object)?;
            return Ok(file);
        }
        drop(lock);
        let gone = || HubError::refused(client.name(&object.key), "was deleted while it was being fetched");
        object = client.facts(&object.key)?.ok_or_else(gone)?;
    }
    let reason = "changes again and again while it is being fetched: try when nobody writes it";
    Err(HubError::refused(client.name(&object.key), reason))
}

/// None where the object has changed.
fn fetch(client: &Client, cache: &Cache, object: &Object) -> Result<Option<PathBuf>, HubError> {
    let (partial, target) = (cache.partial(object), cache.file(object));
    crate::cache::make_parent(&target)?;
    let mut fresh = !partial.exists();
    loop {
        let opaque = match pieces(client, object, &partial)? {
            Ended::Whole(opaque) => opaque,
            Ended::Changed => {
                remove(&partial)?;
                return Ok(None);
            }
        };
        if opaque || hash::is_md5(&partial, bare(&object.etag)).map_err(HubError::io(&partial))? {
            break;
        }
        remove(&partial)?;
        if fresh {
            let reason = format!("its contents do not have the hash {} that the store gives for it", object.etag);
            return Err(HubError::Damaged { what: client.name(&object.key), reason });
        }
        // What an earlier try left may have been at fault.
        fresh = true;
    }
    let sync = File::open(&partial).and_then(|file| file.sync_all());
    sync.map_err(HubError::io(&partial))?;
    fs::rename(&partial, &target).map_err(HubError::io(&target))?;
    Ok(Some(target))
}

/// Appends to `partial` until it is as long as the object.
fn pieces(client: &Client, object: &Object, partial: &Path) -> Result<Ended, HubError> {
    let what = client.name(&object.key);
    let (mut idle, mut last, mut opaque) = (0, String::new(), false);
    while idle < TRIES {
        pause(idle);
        let mut have = fs::metadata(partial).map_or(0, |metadata| metadata.len());
        if have > object.size {
            remove(partial)?;
            have = 0;
        }
        if have == object.size {
            // Also the empty object, which nothing is sent of.
            let file = File::options().create(true).append(true).open(partial);
            return file.map(|_| Ended::Whole(opaque)).map_err(HubError::io(partial));
        }
        let mut headers = Vec::new();
        // A weak tag matches nothing.
        if !object.etag.starts_with("W/") {
            headers.push(("If-Match", object.etag.clone()));
        }
        if have > 0 {
            headers.push(("Range", format!("bytes={have}-")));
        }
        let request = Request { method: Method::Get, key: Some(&object.key), query: &[], headers: &headers };
        let response = match client.send(&request) {
            Ok(Answer::Good(response)) => *response,
            Ok(Answer::Changed | Answer::Beyond | Answer::Missing(_)) => return Ok(Ended::Changed),
            Err(Failed::Passing(words)) => {
                last = words;
                idle += 1;
                continue;
            }
            Err(other) => return Err(client.error(other, &what)),
        };
        if !is_of(&response, object) {
            return Ok(Ended::Changed);
        }
        opaque = ENCRYPTED.iter().any(|name| header(&response, name).is_some())
            || header(&response, "x-amz-server-side-encryption").is_some_and(|way| way.contains("kms"));
        let from = format!("bytes {have}-");
        let resumes = response.status() == StatusCode::PARTIAL_CONTENT
            && header(&response, "content-range").is_some_and(|range| range.starts_with(&from));
        let have = if resumes { have } else { 0 };
        let file = File::options().create(true).write(true).append(resumes).truncate(!resumes).open(partial);
        let file = file.map_err(HubError::io(partial))?;
        let read = match copy(response, file, have, Some(object.size), &what) {
            Ok(read) => read,
            Err(Stopped::Disk(error)) => return Err(HubError::io(partial)(error)),
            Err(Stopped::Network(error, read)) => {
                last = error;
                read
            }
        };
        idle = if read > 0 { 0 } else { idle + 1 };
        if last.is_empty() {
            last = "the connection closed early".into();
        }
    }
    Err(HubError::network(what, format!("could not be fetched whole: {last}")))
}

/// Whether a response is of the contents that are fetched: not every store heeds `If-Match`.
fn is_of(response: &Response<Body>, object: &Object) -> bool {
    let total = header(response, "content-range").and_then(|range| range.rsplit('/').next()?.parse::<u64>().ok());
    let whole = header(response, "content-length").and_then(|length| length.parse::<u64>().ok());
    let size = if response.status() == StatusCode::PARTIAL_CONTENT { total } else { whole };
    header(response, "etag").is_none_or(|etag| bare(&etag) == bare(&object.etag))
        && size.is_none_or(|size| size == object.size)
}

fn remove(partial: &Path) -> Result<(), HubError> {
    match fs::remove_file(partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(HubError::io(partial)(error)),
        _ => Ok(()),
    }
}
