//! Requests to one bucket, signed where there are keys.
//!
//! Every request is a presigned URL: what it may do stands in it whole, so nothing secret is in a header that a proxy or
//! a redirect could carry away. Redirects are not followed; what they say of the bucket's region is.

use super::answers::{self, Page, Refusal};
use super::cache::bare;
use super::refusals;
use super::settings::{Settings, is_region};
use crate::download::{TRIES, agent, header, passing, pause};
use crate::error::HubError;
use crate::reference::encode;
use jiff::Timestamp;
use rusty_s3::signing::sign;
use rusty_s3::{Bucket, Method, UrlStyle};
use std::sync::{Mutex, PoisonError};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

/// The largest page of a listing that is read, in bytes.
const LARGEST_PAGE: u64 = 64 << 20;
/// The largest refusal that is read, in bytes.
const LARGEST_REFUSAL: u64 = 1 << 16;
/// Seconds for which a signature holds. A download that begins within it may take longer.
const VALID: u64 = 3600;
/// Of an answer that says of a range or a condition that it does not hold, where there was none.
const UNASKED: &str = "the store answers what was not asked";

/// An object at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Bytes of its contents.
    pub size: u64,
    /// The entity tag of its contents, as the store writes it.
    pub etag: String,
}

/// A client of one bucket.
pub(super) struct Client {
    agent: Agent,
    settings: Settings,
    bucket: String,
    place: Mutex<Place>,
}

/// How the bucket is reached, as far as answers have told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    region: String,
    virtual_host: bool,
    /// Whether an answer has corrected the region: one may, and no second.
    moved: bool,
}

/// What is asked for.
pub(super) struct Request<'a> {
    pub method: Method,
    /// An object; the bucket itself without.
    pub key: Option<&'a str>,
    /// Sorted by name.
    pub query: &'a [(&'a str, &'a str)],
    pub headers: &'a [(&'a str, String)],
}

/// What a store answers that is not its failure.
pub(super) enum Answer {
    Good(Box<Response<Body>>),
    /// There is no such object, or no such bucket.
    Missing(Refusal),
    /// The object is no longer what `If-Match` says.
    Changed,
    /// The object ends before the range.
    Beyond,
}

/// Why there is no answer.
pub(super) enum Failed {
    /// Another try may go better.
    Passing(String),
    /// None will.
    Refused(Refused),
    /// The request itself cannot be made.
    Impossible(HubError),
}

/// A refusal with what came around it.
pub(super) struct Refused {
    pub status: StatusCode,
    pub refusal: Refusal,
    /// Where the store says that the bucket is.
    pub region: Option<String>,
}

impl Client {
    pub fn new(settings: Settings, bucket: &str) -> Result<Self, HubError> {
        // Amazon's certificates are for one label before its own; its oldest buckets have names that no host has.
        let host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let usual = settings.endpoint.is_none() && bucket.bytes().all(host);
        let virtual_host = settings.virtual_host.unwrap_or(usual);
        let place = Place { region: settings.region.clone(), virtual_host, moved: false };
        let client = Self { agent: agent(), settings, bucket: bucket.to_owned(), place: Mutex::new(place.clone()) };
        client.bucket(&place)?;
        Ok(client)
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The name of an object in errors and on the progress line.
    pub fn name(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    /// Where the store is.
    pub fn endpoint(&self) -> String {
        self.endpoint_at(&self.place().region)
    }

    fn endpoint_at(&self, region: &str) -> String {
        let china = if region.starts_with("cn-") { ".cn" } else { "" };
        self.settings.endpoint.clone().unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com{china}"))
    }

    fn place(&self) -> Place {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn bucket(&self, place: &Place) -> Result<Bucket, HubError> {
        let endpoint = self.endpoint_at(&place.region);
        let wrong = |reason: &str| HubError::refused(format!("AWS_ENDPOINT_URL={endpoint}"), reason);
        let style = if place.virtual_host { UrlStyle::VirtualHost } else { UrlStyle::Path };
        let url = endpoint.parse().map_err(|_| wrong("is no address; one is http://localhost:9000"))?;
        Bucket::new(url, style, self.bucket.clone(), place.region.clone()).map_err(|error| match error {
            rusty_s3::BucketError::UnsupportedScheme | rusty_s3::BucketError::MissingHost => {
                wrong("has to begin with https:// or http:// and a host")
            }
            rusty_s3::BucketError::ParseError(_) => {
                wrong(&format!("cannot have the bucket {} in its host; set addressing_style = path", self.bucket))
            }
        })
    }

    /// The URL of a request, which at this time may be sent.
    fn url(&self, place: &Place, request: &Request, time: &Timestamp) -> Result<String, HubError> {
        let bucket = self.bucket(place)?;
        let mut url = request.key.map_or_else(|| bucket.base_url().clone(), |key| bucket.object_url(key));
        if let Some(keys) = &self.settings.keys {
            let (id, secret, token) = (&keys.id, &keys.secret, keys.token.as_deref());
            let query = request.query.iter().copied();
            let none = std::iter::empty();
            return Ok(sign(time, request.method, url, id, secret, token, &place.region, VALID, query, none).into());
        }
        if !request.query.is_empty() {
            let pairs = request.query.iter().map(|(name, value)| format!("{name}={}", encode(value, false)));
            url.set_query(Some(&pairs.collect::<Vec<_>>().join("&")));
        }
        Ok(url.into())
    }

    /// One request, and another where the answer says where to ask instead.
    pub fn send(&self, request: &Request) -> Result<Answer, Failed> {
        loop {
            let place = self.place();
            let url = self.url(&place, request, &Timestamp::now()).map_err(Failed::Impossible)?;
            let head = request.method == Method::Head;
            let mut call = if head { self.agent.head(url) } else { self.agent.get(url) };
            // Sizes and places are those of the object itself.
            call = call.header("Accept-Encoding", "identity");
            for (name, value) in request.headers {
                call = call.header(*name, value);
            }
            let mut response = call.call().map_err(|error| Failed::Passing(error.to_string()))?;
            let status = response.status();
            match status {
                status if status.is_success() => return Ok(Answer::Good(Box::new(response))),
                status if passing(status) => return Err(Failed::Passing(format!("the store answers {status}"))),
                StatusCode::PRECONDITION_FAILED => return Ok(Answer::Changed),
                StatusCode::RANGE_NOT_SATISFIABLE => return Ok(Answer::Beyond),
                _ => {}
            }
            let mut region = header(&response, "x-amz-bucket-region");
            let text = if head { Ok(String::new()) } else { read(&mut response, LARGEST_REFUSAL) };
            let refusal = text.map(|text| answers::refusal(&text)).unwrap_or_default();
            region = region.or_else(|| refusal.region.clone()).filter(|region| is_region(region));
            if status != StatusCode::NOT_FOUND && self.moves(&place, &refusal.code, region.as_deref()) {
                continue;
            }
            if status == StatusCode::NOT_FOUND {
                return Ok(Answer::Missing(refusal));
            }
            return Err(Failed::Refused(Refused { status, refusal, region }));
        }
    }

    /// Whether an answer tells how to reach the bucket otherwise than it was tried.
    fn moves(&self, tried: &Place, code: &str, region: Option<&str>) -> bool {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if *place != *tried {
            // Another thread was told.
            return true;
        }
        // Stores of Alibaba and Tencent have no other style.
        let forbidden = matches!(code, "SecondLevelDomainForbidden" | "PathStyleDomainForbidden");
        if forbidden && !place.virtual_host && self.settings.virtual_host.is_none() {
            place.virtual_host = true;
            return true;
        }
        if let Some(region) = region.filter(|region| *region != place.region && !place.moved) {
            region.clone_into(&mut place.region);
            place.moved = true;
            return true;
        }
        false
    }

    /// The error for a failure of which no further try is made.
    pub fn error(&self, failed: Failed, what: &str) -> HubError {
        match failed {
            Failed::Passing(words) => self.unreachable(what, &words),
            Failed::Refused(refused) => {
                HubError::refused(what, refusals::reason(&refused, &self.settings, &self.bucket, &self.endpoint()))
            }
            Failed::Impossible(error) => error,
        }
    }

    fn unreachable(&self, what: &str, last: &str) -> HubError {
        HubError::network(what, format!("{} cannot be reached: {last}", self.endpoint()))
    }

    /// What an object is now; none where there is none.
    pub fn facts(&self, key: &str) -> Result<Option<Object>, HubError> {
        let what = self.name(key);
        let head = Request { method: Method::Head, key: Some(key), query: &[], headers: &[] };
        let mut last = String::new();
        for attempt in 0..TRIES {
            pause(attempt);
            let answer = match self.send(&head) {
                // An answer to HEAD has no words: one byte is asked for, to be told why not.
                Err(Failed::Refused(_)) => {
                    self.send(&Request { method: Method::Get, headers: &[("Range", "bytes=0-0".to_owned())], ..head })
                }
                other => other,
            };
            match answer {
                Ok(Answer::Good(response)) => return self.object(key, &response).map(Some),
                Ok(Answer::Missing(refusal)) if refusal.code == "NoSuchBucket" => {
                    return Err(self.missing(refusal, &what));
                }
                Ok(Answer::Missing(_)) => return Ok(None),
                Ok(Answer::Changed | Answer::Beyond) => UNASKED.clone_into(&mut last),
                Err(Failed::Passing(words)) => last = words,
                Err(other) => return Err(self.error(other, &what)),
            }
        }
        Err(self.unreachable(&what, &last))
    }

    fn object(&self, key: &str, response: &Response<Body>) -> Result<Object, HubError> {
        let length = header(
            response,
            if response.status() == StatusCode::PARTIAL_CONTENT { "content-range" } else { "content-length" },
        );
        let size = length.and_then(|length| length.rsplit('/').next()?.trim().parse().ok());
        let etag = header(response, "etag").filter(|etag| !bare(etag).is_empty());
        let (Some(size), Some(etag)) = (size, etag) else {
            let reason = format!("{} says nothing of its contents (no ETag, or no size)", self.endpoint());
            return Err(HubError::refused(self.name(key), reason));
        };
        Ok(Object { key: key.to_owned(), size, etag })
    }

    fn missing(&self, refusal: Refusal, what: &str) -> HubError {
        self.error(Failed::Refused(Refused { status: StatusCode::NOT_FOUND, refusal, region: None }), what)
    }

    /// A page of the keys that begin with `prefix`; with `flat`, of those without a slash after it.
    pub fn page(&self, prefix: &str, flat: bool, token: Option<&str>, what: &str) -> Result<Page, HubError> {
        let mut query = Vec::new();
        query.extend(token.map(|token| ("continuation-token", token)));
        query.extend(flat.then_some(("delimiter", "/")));
        query.extend([("encoding-type", "url"), ("list-type", "2"), ("prefix", prefix)]);
        let request = Request { method: Method::Get, key: None, query: &query, headers: &[] };
        let mut last = String::new();
        for attempt in 0..TRIES {
            pause(attempt);
            match self.send(&request) {
                Ok(Answer::Good(mut response)) => match read(&mut response, LARGEST_PAGE) {
                    Ok(text) => {
                        let odd = |words| format!("{} does not answer as a store does: {words}", self.endpoint());
                        return answers::page(&text).map_err(|words| HubError::refused(what, odd(words)));
                    }
                    Err(words) => last = words,
                },
                Ok(Answer::Missing(refusal)) => return Err(self.missing(refusal, what)),
                Ok(Answer::Changed | Answer::Beyond) => UNASKED.clone_into(&mut last),
                Err(Failed::Passing(words)) => last = words,
                Err(other) => return Err(self.error(other, what)),
            }
        }
        Err(self.unreachable(what, &last))
    }
}

fn read(response: &mut Response<Body>, most: u64) -> Result<String, String> {
    response.body_mut().with_config().limit(most).read_to_string().map_err(|error| error.to_string())
}

#[cfg(test)]
#[path = "signatures.rs"]
mod signatures;
