//! What the environment says of the Hub, as Hugging Face's own libraries read it.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by `--offline`.
static OFFLINE: AtomicBool = AtomicBool::new(false);
/// Who is told of bytes that came.
static PROGRESS: OnceLock<Box<dyn Fn(&str, u64, Option<u64>) + Send + Sync>> = OnceLock::new();

/// From now on nothing is fetched in this process; the cache alone is read.
pub fn set_offline(offline: bool) {
    OFFLINE.store(offline, Ordering::Relaxed);
}

/// Whether `--offline` was given.
pub(crate) fn is_offline() -> bool {
    OFFLINE.load(Ordering::Relaxed)
}

/// Tells `report` of every file as it comes: its name, bytes so far, and bytes in all. The first call counts.
pub fn on_progress(report: impl Fn(&str, u64, Option<u64>) + Send + Sync + 'static) {
    let _ = PROGRESS.set(Box::new(report));
}

pub(crate) fn report(file: &str, bytes: u64, total: Option<u64>) {
    if let Some(report) = PROGRESS.get() {
        report(file, bytes, total);
    }
}

/// Where the Hub is, and where its cache.
#[derive(Clone)]
pub struct Settings {
    /// `HF_ENDPOINT`, without a slash at its end.
    pub endpoint: String,
    /// `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or `huggingface/hub` in the user's cache folder.
    pub cache: PathBuf,
    /// `HF_TOKEN`, or what the file `token` in `HF_HOME` (or `HF_TOKEN_PATH`) holds.
    pub token: Option<String>,
    /// `--offline` or `HF_HUB_OFFLINE`.
    pub offline: bool,
}

impl Settings {
    /// What the environment says.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(read: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| read(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let user = variable("HOME").or_else(|| variable("USERPROFILE")).map(PathBuf::from).unwrap_or_default();
        let folder = |name: &str| {
            let value = variable(name)?;
            Some(value.strip_prefix("~/").map_or_else(|| PathBuf::from(&value), |rest| user.join(rest)))
        };
        let caches = folder("XDG_CACHE_HOME").unwrap_or_else(|| user.join(".cache"));
        let home = folder("HF_HOME").unwrap_or_else(|| caches.join("huggingface"));
        let cache =
            folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| home.join("hub"));
        let file = folder("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let stored = || std::fs::read_to_string(file).ok().map(|text| text.trim().to_owned());
        // A line end in a header would be another header.
        let token = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN")).or_else(stored);
        let token = token.filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
        let yes = |value: String| ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str());
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache,
            token,
            offline: is_offline() || variable("HF_HUB_OFFLINE").is_some_and(yes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_as_elsewhere() {
        let read = |pairs: &'static [(&str, &str)]| {
            Settings::from_variables(move |name| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let plain = read(&[("HOME", "/h")]);
        assert_eq!(plain.cache, PathBuf::from("/h/.cache/huggingface/hub"));
        assert!(!plain.offline && plain.token.is_none());
        let moved =
            read(&[("HOME", "/h"), ("HF_HOME", "~/x"), ("HF_ENDPOINT", "http://localhost:1/"), ("HF_TOKEN", " t ")]);
        assert_eq!((moved.cache, moved.endpoint.as_str()), (PathBuf::from("/h/x/hub"), "http://localhost:1"));
        assert_eq!(moved.token.as_deref(), Some("t"));
        let other = read(&[("HF_HUB_CACHE", "/c"), ("HF_HUB_OFFLINE", "TRUE"), ("HF_TOKEN", "a\nb")]);
        assert_eq!((other.cache, other.offline, other.token), (PathBuf::from("/c"), true, None));
    }
}
