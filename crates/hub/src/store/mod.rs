//! Objects of stores that speak the protocol of Amazon's S3: Amazon's own, MinIO, Ceph, and those of other vendors.
//!
//! `s3://bucket/key` names an object, the objects below it as in a folder, or a glob over keys. Objects are fetched into a
//! cache that is keyed by endpoint, bucket, key, and entity tag, so that a second reading costs a listing alone and a
//! changed object is fetched anew. Downloads go on where they were cut off, for the same contents only, and are checked
//! by their size, and by their MD5 where the tag is one.
//!
//! Signatures are `rusty-s3`'s, which does no input and output of its own, so that the transport is the Hub's. Clients of
//! the protocol that do all of it bring a second HTTP stack and an asynchronous runtime.

mod address;
mod answers;
mod cache;
mod client;
mod fetch;
mod profile;
mod refusals;
mod settings;

pub use address::Address;
pub use client::Object;
pub use settings::{Keys, Settings};

use crate::error::HubError;
use answers::Listed;
use cache::Cache;
use client::Client;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most objects that one address may fetch, and the most of those left out that are told.
const MOST_OBJECTS: usize = 100_000;
/// The most pages of a listing that are read, of a thousand keys each as a rule.
const MOST_PAGES: usize = 20_000;
/// Objects that are fetched at a time: small ones wait for answers more than for bytes.
const AT_ONCE: usize = 8;

/// Whether a text names something in a store rather than a path.
pub fn is_address(text: &str) -> bool {
    text.starts_with(address::SCHEME)
}

/// The store in which `text` names something, as the environment has it; none where it names a path.
///
/// # Errors
/// When the address is not one, or the environment is wrong.
pub fn open(text: &str) -> Result<Option<Store>, HubError> {
    if !is_address(text) {
        return Ok(None);
    }
    let address = Address::parse(text)?;
    Store::new(address, Settings::from_environment()?).map(Some)
}

/// What an address in a store leads to, through a cache.
pub struct Store {
    address: Address,
    client: Client,
    cache: Cache,
}

/// The objects behind an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order of their keys.
    pub objects: Vec<Object>,
    /// Whether the address names one object outright.
    pub named: bool,
    /// Addresses of objects that are not wanted, as far as there is room.
    pub skipped: Vec<String>,
}

impl Store {
    /// What `address` leads to at these settings.
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn new(address: Address, settings: Settings) -> Result<Self, HubError> {
        let cache = Cache::new(&settings.cache, settings.endpoint.as_deref(), &address.bucket);
        Ok(Self { client: Client::new(settings, &address.bucket)?, cache, address })
    }

    /// The object that the address names; where there is none, those that match its glob, or those below it as in a
    /// folder, if `wanted` accepts their keys. Of a folder, what begins with a dot is left out. Offline, those of which
    /// the cache has the contents.
    ///
    /// # Errors
    /// When there are none, or the store does not show them.
    pub fn find(&self, wanted: &dyn Fn(&str) -> bool) -> Result<Found, HubError> {
        let key = self.address.key.as_str();
        let mut choice = Choice::new(&self.address, wanted)?;
        if self.client.settings().offline {
            for object in self.cache.objects() {
                choice.see(object, &self.address)?;
            }
            return choice.end().ok_or_else(|| HubError::Offline {
                what: self.address.to_string(),
                cache: self.cache.root().to_owned(),
            });
        }
        let literal = key.find(['*', '?', '[']).unwrap_or(key.len());
        let prefix = if self.address.is_glob() {
            key[..literal].to_owned()
        } else {
            if !key.is_empty()
                && !key.ends_with('/')
                && let Some(object) = self.client.facts(key)?
            {
                return Ok(Found { objects: vec![object], named: true, skipped: Vec::new() });
            }
            folder(key)
        };
        // Of the last folder of a glob, nothing below is listed.
        let flat = self.address.is_glob() && !key[literal..].contains('/') && !key[literal..].contains("**");
        self.list(&prefix, flat, &mut choice)?;
        let some = choice.found.skipped.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
        choice.end().ok_or_else(|| {
            let reason = match some.as_str() {
                "" if self.address.is_glob() => "matches no object".to_owned(),
                "" => "is not there: check the spelling of bucket and key".to_owned(),
                some => format!("has no object that Loam reads; there are {some}"),
            };
            HubError::refused(self.address.to_string(), reason)
        })
    }

    fn list(&self, prefix: &str, flat: bool, choice: &mut Choice) -> Result<(), HubError> {
        let what = self.address.to_string();
        let mut next: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let page = self.client.page(prefix, flat, next.as_deref(), &what)?;
            for Listed { key, size, tag } in page.objects {
                let object = match size {
                    Some(size) if !cache::bare(&tag).is_empty() => Object { key, size, etag: tag },
                    // Asked for below, if it is chosen.
                    _ => Object { key, size: u64::MAX, etag: String::new() },
                };
                choice.see(object, &self.address)?;
            }
            match page.next {
                None => return self.complete(&mut choice.found),
                again if again == next => break,
                other => next = other,
            }
        }
        Err(HubError::refused(what, format!("its listing does not end after {MOST_PAGES} pages: name less")))
    }

    /// Asks for what a listing does not say of the chosen objects.
    fn complete(&self, found: &mut Found) -> Result<(), HubError> {
        for object in found.objects.iter_mut().filter(|object| object.etag.is_empty()) {
            let gone = || HubError::refused(self.client.name(&object.key), "is listed, and is not there");
            *object = self.client.facts(&object.key)?.ok_or_else(gone)?;
        }
        Ok(())
    }

    /// Files with the contents of objects, in their order, fetched where they are not in the cache yet.
    ///
    /// # Errors
    /// When one cannot be fetched.
    pub fn fetch(&self, objects: &[Object]) -> Result<Vec<PathBuf>, HubError> {
        if self.client.settings().offline {
            let offline = |object: &Object| HubError::Offline {
                what: self.client.name(&object.key),
                cache: self.cache.root().to_owned(),
            };
            return objects.iter().map(|object| self.cache.whole(object).ok_or_else(|| offline(object))).collect();
        }
        let next = AtomicUsize::new(0);
        let worker = || {
            let mut had = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(object) = objects.get(place) else { return had };
                let file = fetch::have(&self.client, &self.cache, object);
                if file.is_err() {
                    // No other is begun.
                    next.store(objects.len(), Ordering::Relaxed);
                }
                had.push((place, file));
            }
        };
        let mut had = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE.min(objects.len())).map(|_| scope.spawn(worker)).collect();
            let parts = workers.into_iter().map(std::thread::ScopedJoinHandle::join);
            parts.flat_map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect::<Vec<_>>()
        });
        had.sort_by_key(|(place, _)| *place);
        had.into_iter().map(|(_, file)| file).collect()
    }
}

/// The prefix of what lies below a key as in a folder.
fn folder(key: &str) -> String {
    if key.is_empty() || key.ends_with('/') { key.to_owned() } else { format!("{key}/") }
}

/// Sorts the objects of a listing into those that are meant and others.
struct Choice<'a> {
    pattern: Option<glob::Pattern>,
    folder: String,
    wanted: &'a dyn Fn(&str) -> bool,
    found: Found,
    named: Option<Object>,
}

impl<'a> Choice<'a> {
    fn new(address: &Address, wanted: &'a dyn Fn(&str) -> bool) -> Result<Self, HubError> {
        let pattern = address.is_glob().then(|| glob::Pattern::new(&address.key)).transpose();
        let pattern = pattern.or_else(|error| {
            // It may still be the name of an object.
            if address.key.contains(['*', '?']) { Err(error) } else { Ok(None) }
        });
        let pattern = pattern.map_err(|error| {
            HubError::refused(address.to_string(), format!("is no pattern: {}; use *, ?, ** and [abc]", error.msg))
        })?;
        Ok(Self { pattern, folder: folder(&address.key), wanted, found: Found::default(), named: None })
    }

    fn see(&mut self, object: Object, address: &Address) -> Result<(), HubError> {
        if object.key == address.key && !object.key.ends_with('/') {
            self.named = Some(object);
            return Ok(());
        }
        let meant = if let Some(pattern) = &self.pattern {
            // As in a shell, only ** crosses folders.
            let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::default() };
            pattern.matches_with(&object.key, options)
        } else {
            let below = object.key.strip_prefix(&self.folder);
            below.is_some_and(|below| below.split('/').all(|part| !part.starts_with('.') || address::is_dots(part)))
        };
        // Keys that end with a slash stand for folders.
        if !meant || object.key.ends_with('/') {
            return Ok(());
        }
        let name = Address { bucket: address.bucket.clone(), key: object.key.clone() };
        if !(self.wanted)(&object.key) {
            if self.found.skipped.len() < MOST_OBJECTS {
                self.found.skipped.push(name.to_string());
            }
            return Ok(());
        }
        if address::has_dots(&object.key) {
            let reason = "has . or .. between its slashes, which no URL can hold: name the others, or rename it";
            return Err(HubError::refused(name.to_string(), reason));
        }
        if self.found.objects.len() == MOST_OBJECTS {
            let reason = format!("matches more than {MOST_OBJECTS} objects, the most that are fetched: name less");
            return Err(HubError::refused(address.to_string(), reason));
        }
        self.found.objects.push(object);
        Ok(())
    }

    /// What was found; none where that is nothing.
    fn end(mut self) -> Option<Found> {
        if let Some(object) = self.named {
            return Some(Found { objects: vec![object], named: true, skipped: Vec::new() });
        }
        self.found.objects.sort_by(|one, other| one.key.cmp(&other.key));
        (!self.found.objects.is_empty()).then_some(self.found)
    }
}
