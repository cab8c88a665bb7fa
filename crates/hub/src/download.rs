//! Requests to the Hub, and files that come in as many pieces as the network makes of them.

use crate::error::HubError;
use crate::hash;
use crate::settings::{Settings, report};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

/// The largest listing of a repository that is read, in bytes.
const LARGEST_LISTING: u64 = 64 << 20;
/// Tries without a single new byte before giving up.
pub(crate) const TRIES: u32 = 5;
/// Redirects that are followed.
const REDIRECTS: usize = 8;
/// A body that takes longer is asked for again from where it stopped, so that a silent server does not hold us.
const BODY: Duration = Duration::from_mins(2);

/// What the Hub says of a file before sending it.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Names the contents.
    pub tag: String,
    pub size: Option<u64>,
    pub commit: Option<String>,
}

/// What speaks HTTP, as it is for everything that is fetched: it follows no redirects by itself, and waits for nobody
/// forever.
pub(crate) fn agent() -> Agent {
    let config = Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(Duration::from_mins(1)))
        .timeout_recv_body(Some(BODY))
        .user_agent(concat!("loam/", env!("CARGO_PKG_VERSION")))
        .build();
    config.into()
}

/// A client of one Hub.
pub(crate) struct Client {
    agent: Agent,
    settings: Settings,
}

impl Client {
    pub fn new(settings: Settings) -> Self {
        Self { agent: agent(), settings }
    }

    /// One request. The token goes to the Hub alone, never to where it sends us.
    fn send(&self, head: bool, url: &str, from: u64) -> Result<Response<Body>, ureq::Error> {
        let mut request = if head { self.agent.head(url) } else { self.agent.get(url) };
        // Sizes and places are those of the file itself.
        request = request.header("Accept-Encoding", "identity");
        let ours = url.strip_prefix(&self.settings.endpoint).is_some_and(|rest| rest.starts_with('/'));
        if let Some(token) = self.settings.token.as_ref().filter(|_| ours) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request.call()
    }

    /// A request that goes where redirects lead. With `stay`, only to the Hub itself: what it says of a file stands in
    /// its own answer, not in that of the storage behind it.
    fn follow(&self, head: bool, path: &str, from: u64, stay: bool) -> Result<Response<Body>, String> {
        let mut url = format!("{}{path}", self.settings.endpoint);
        for _ in 0..REDIRECTS {
            let response = self.send(head, &url, from).map_err(|error| words(&error))?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            let place = header(&response, "location").ok_or("was redirected to nowhere")?;
            let next = join(&url, &place);
            let away = !next.starts_with(&format!("{}/", self.settings.endpoint));
            if stay && (away || header(&response, "x-linked-etag").is_some()) {
                return Ok(response);
            }
            if url.starts_with("https:") && !next.starts_with("https:") {
                return Err(format!("was redirected to {next}, which is not encrypted"));
            }
            url = next;
        }
        Err(format!("was redirected more than {REDIRECTS} times"))
    }

    /// A listing.
    pub fn listing(&self, path: &str, what: &str) -> Result<serde_json::Value, HubError> {
        let mut last = String::new();
        for attempt in 0..TRIES {
            pause(attempt);
            match self.follow(false, path, 0, false) {
                Ok(response) if passing(response.status()) => last = format!("the Hub answers {}", response.status()),
                Ok(response) => {
                    let mut response = self.accepted(response, what)?;
                    let text = response.body_mut().with_config().limit(LARGEST_LISTING).read_to_string();
                    match text {
                        Ok(text) => {
                            return serde_json::from_str(&text).map_err(|error| {
                                HubError::refused(
                                    what,
                                    format!("{} did not answer as a Hub does: {error}", self.settings.endpoint),
                                )
                            });
                        }
                        Err(error) => last = words(&error),
                    }
                }
                Err(error) => last = error,
            }
        }
        Err(HubError::network(what, format!("{} cannot be reached: {last}", self.settings.endpoint)))
    }

    /// What the Hub says of a file.
    pub fn facts(&self, path: &str, what: &str) -> Result<Facts, HubError> {
        let mut last = String::new();
        for attempt in 0..TRIES {
            pause(attempt);
            match self.follow(true, path, 0, true) {
                Ok(response) if passing(response.status()) => last = format!("the Hub answers {}", response.status()),
                Ok(response) => {
                    let response =
                        if response.status().is_redirection() { response } else { self.accepted(response, what)? };
                    let tag = header(&response, "x-linked-etag").or_else(|| header(&response, "etag"));
                    let tag = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
                    let good = |tag: &String| {
                        !tag.is_empty()
                            && tag.len() <= 128
                            && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    };
                    let Some(tag) = tag.filter(good) else {
                        let reason = format!("{} says nothing of its contents (no ETag)", self.settings.endpoint);
                        return Err(HubError::refused(what, reason));
                    };
                    let linked = header(&response, "x-linked-size");
                    let own = header(&response, "content-length").filter(|_| !response.status().is_redirection());
                    let size = linked.or(own).and_then(|size| size.parse().ok());
                    return Ok(Facts { tag, size, commit: header(&response, "x-repo-commit") });
                }
                Err(error) => last = error,
            }
        }
        Err(HubError::network(what, format!("{} cannot be reached: {last}", self.settings.endpoint)))
    }

    /// Fetches a file to `target`, going on with what an earlier try left, and gives it its name when it is whole.
    pub fn fetch(&self, path: &str, facts: &Facts, target: &Path, what: &str) -> Result<(), HubError> {
        let partial = target.with_file_name(format!("{}.incomplete", facts.tag));
        crate::cache::make_parent(&partial)?;
        let mut fresh = !partial.exists();
        loop {
            self.pieces(path, facts, &partial, what)?;
            if hash::matches(&partial, &facts.tag).map_err(HubError::io(&partial))? {
                break;
            }
            fs::remove_file(&partial).map_err(HubError::io(&partial))?;
            if fresh {
                let reason = format!("its contents do not have the hash {} that the Hub gives for it", facts.tag);
                return Err(HubError::Damaged { what: what.to_owned(), reason });
            }
            // What an earlier try left may have been at fault.
            fresh = true;
        }
        let sync = File::open(&partial).and_then(|file| file.sync_all());
        sync.map_err(HubError::io(&partial))?;
        fs::rename(&partial, target).map_err(HubError::io(target))
    }

    /// Appends to `partial` until it is as long as it should be.
    fn pieces(&self, path: &str, facts: &Facts, partial: &Path, what: &str) -> Result<(), HubError> {
        let mut idle = 0;
        let mut last = String::new();
        while idle < TRIES {
            pause(idle);
            let mut have = fs::metadata(partial).map_or(0, |metadata| metadata.len());
            if facts.size.is_some_and(|size| have > size) {
                fs::remove_file(partial).map_err(HubError::io(partial))?;
                have = 0;
            }
            if facts.size == Some(have) {
                // Also the empty file, which nothing is sent of.
                return File::options()
                    .create(true)
                    .append(true)
                    .open(partial)
                    .map(drop)
                    .map_err(HubError::io(partial));
            }
            let response = match self.follow(false, path, have, false) {
                Ok(response) if passing(response.status()) => {
                    last = format!("the Hub answers {}", response.status());
                    idle += 1;
                    continue;
                }
                Ok(response) if response.status() == StatusCode::RANGE_NOT_SATISFIABLE => {
                    fs::remove_file(partial).map_err(HubError::io(partial))?;
                    idle += 1;
                    continue;
                }
                Ok(response) => self.accepted(response, what)?,
                Err(error) => {
                    last = error;
                    idle += 1;
                    continue;
                }
            };
            let resumes = response.status() == StatusCode::PARTIAL_CONTENT
                && header(&response, "content-range").is_some_and(|range| range.starts_with(&format!("bytes {have}-")));
            let have = if resumes { have } else { 0 };
            let file = File::options().create(true).write(true).append(resumes).truncate(!resumes).open(partial);
            let file = file.map_err(HubError::io(partial))?;
            match copy(response, file, have, facts.size, what) {
                Ok(_) if facts.size.is_none() => return Ok(()),
                Ok(read) => idle = if read > 0 { 0 } else { idle + 1 },
                Err(Stopped::Disk(error)) => return Err(HubError::io(partial)(error)),
                Err(Stopped::Network(error, read)) => {
                    last = error;
                    idle = if read > 0 { 0 } else { idle + 1 };
                }
            }
            if last.is_empty() {
                last = "the connection closed early".into();
            }
        }
        Err(HubError::network(what, format!("could not be fetched whole: {last}")))
    }

    /// A response that has what was asked for, or why it has not.
    fn accepted(&self, response: Response<Body>, what: &str) -> Result<Response<Body>, HubError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let has_token = self.settings.token.is_some();
        let reason = match (status.as_u16(), header(&response, "x-error-code").as_deref()) {
            (_, Some("GatedRepo")) => {
                "is gated: accept its terms on its page, and set HF_TOKEN to a token of that account"
            }
            (_, Some("RevisionNotFound")) => "has no such revision; after the @ stands a branch, tag, or commit",
            (_, Some("EntryNotFound")) => "has no such file",
            (401, _) if has_token => "is refused: HF_TOKEN is not valid, or there is no such repository",
            (401, _) => "is refused: there is no such repository, or it is private and needs HF_TOKEN",
            (403, _) => "is forbidden: the account of HF_TOKEN may not read it",
            (404, _) => "is not there: check the spelling of organization, name, and path",
            _ => return Err(HubError::refused(what, format!("the Hub answers {status}"))),
        };
        Err(HubError::refused(what, reason))
    }
}

/// Why a body did not come to its end.
pub(crate) enum Stopped {
    /// It could not be written.
    Disk(io::Error),
    /// With the bytes that came before.
    Network(String, u64),
}

/// Writes a body to a file, at most to its announced size; the bytes that came.
pub(crate) fn copy(
    response: Response<Body>,
    mut file: File,
    have: u64,
    size: Option<u64>,
    what: &str,
) -> Result<u64, Stopped> {
    let left = size.map_or(u64::MAX, |size| size - have);
    let mut body = response.into_body().into_with_config().limit(u64::MAX).reader().take(left);
    let mut buffer = vec![0; 1 << 17];
    let mut read = 0;
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Ok(read),
            Ok(length) => {
                file.write_all(&buffer[..length]).map_err(Stopped::Disk)?;
                read += length as u64;
                report(what, have + read, size);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Stopped::Network(error.to_string(), read)),
        }
    }
}

pub(crate) fn header(response: &Response<Body>, name: &str) -> Option<String> {
    response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Whether another try may go better.
pub(crate) fn passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT
}

pub(crate) fn pause(attempt: u32) {
    if attempt > 0 {
        std::thread::sleep(Duration::from_millis(250 << attempt.min(5)));
    }
}

fn words(error: &ureq::Error) -> String {
    error.to_string()
}

/// Where a redirect from `url` leads.
fn join(url: &str, place: &str) -> String {
    if place.contains("://") {
        return place.to_owned();
    }
    let scheme = url.find("://").map_or(0, |at| at + 3);
    let host = url[scheme..].find('/').map_or(url.len(), |at| scheme + at);
    match place.strip_prefix("//") {
        Some(rest) => format!("{}{rest}", &url[..scheme]),
        None if place.starts_with('/') => format!("{}{place}", &url[..host]),
        None => format!("{}/{place}", url.rsplit_once('/').map_or(url, |(parent, _)| parent)),
    }
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn redirects_lead_where_they_say() {
        assert_eq!(join("http://a/b/c", "/d"), "http://a/d");
        assert_eq!(join("http://a/b/c", "d"), "http://a/b/d");
        assert_eq!(join("http://a/b/c", "https://x/y"), "https://x/y");
        assert_eq!(join("https://a/b", "//x/y"), "https://x/y");
    }
}
