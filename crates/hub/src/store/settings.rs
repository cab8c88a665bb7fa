//! What the environment and Amazon's files say of the store, as Amazon's own tools read them.

use super::profile::Profiles;
use crate::error::HubError;
use crate::settings::is_offline;
use std::fmt;
use std::path::{Path, PathBuf};

/// Ways of coming by keys that profiles name and that are not followed here.
const ELSEWHERE: [&str; 6] =
    ["sso_session", "sso_start_url", "role_arn", "credential_process", "credential_source", "web_identity_token_file"];

/// What signs requests.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// `AWS_ACCESS_KEY_ID`.
    pub id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret: String,
    /// `AWS_SESSION_TOKEN`.
    pub token: Option<String>,
}

/// Without what is secret.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where the store is, who asks it, and where the cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, or the profile's `endpoint_url`; Amazon's own without.
    pub endpoint: Option<String>,
    /// `AWS_REGION`, `AWS_DEFAULT_REGION`, or the profile's `region`; `us-east-1` without.
    pub region: String,
    /// Of the environment, or of the profile; none asks as anyone may.
    pub keys: Option<Keys>,
    /// Whether the bucket's name begins the host's, as in the profile's `s3.addressing_style`. Without a word of it, it
    /// does at Amazon, and stands in the path elsewhere.
    pub virtual_host: Option<bool>,
    /// `LOAM_CACHE`, or `loam` in the user's cache folder.
    pub cache: PathBuf,
    /// `--offline`.
    pub offline: bool,
    /// The setting by which the profile comes by its keys, where that is a way that is not followed here.
    pub keys_elsewhere: Option<String>,
}

impl Settings {
    /// What the environment says.
    ///
    /// # Errors
    /// When it contradicts itself: a profile that is not there, or half of a pair of keys.
    pub fn from_environment() -> Result<Self, HubError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(read: impl Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let variable = |name: &str| read(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let user = variable("HOME").or_else(|| variable("USERPROFILE")).map(PathBuf::from).unwrap_or_default();
        let folder = |name: &str| {
            let value = variable(name)?;
            Some(value.strip_prefix("~/").map_or_else(|| PathBuf::from(&value), |rest| user.join(rest)))
        };
        let file =
            |name: &str, usual: &str| Profiles::load(&folder(name).unwrap_or_else(|| user.join(".aws").join(usual)));
        let secrets = file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let config = file("AWS_CONFIG_FILE", "config");
        let named = variable("AWS_PROFILE").or_else(|| variable("AWS_DEFAULT_PROFILE"));
        if let Some(profile) = named.as_ref().filter(|name| !secrets.has(name) && !config.has(name)) {
            let reason = "is no profile of the files credentials and config in ~/.aws";
            return Err(HubError::refused(format!("AWS_PROFILE={profile}"), reason));
        }
        let profile = named.unwrap_or_else(|| "default".to_owned());
        let stored = |name: &str| secrets.value(&profile, name).or_else(|| config.value(&profile, name));

        let skip =
            variable("AWS_SKIP_SIGNATURE").is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1");
        let of_environment =
            [variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"), variable("AWS_SESSION_TOKEN")];
        let of_profile = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"]
            .map(|name| stored(name).map(str::to_owned));
        let keys = match (of_environment, of_profile) {
            _ if skip => None,
            ([Some(id), Some(secret), token], _) | ([None, None, _], [Some(id), Some(secret), token]) => {
                Some(Keys { id, secret, token })
            }
            ([None, None, _], [None, None, _]) => None,
            ([None, None, _], _) => {
                let reason = "has one of aws_access_key_id and aws_secret_access_key and not the other";
                return Err(HubError::refused(format!("the profile {profile}"), reason));
            }
            _ => {
                let reason = "one is set and the other is not; set both, or neither for what anyone may read";
                return Err(HubError::refused("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", reason));
            }
        };
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = region.or_else(|| stored("region").map(str::to_owned)).unwrap_or_else(|| "us-east-1".to_owned());
        if !is_region(&region) {
            return Err(HubError::refused(format!("AWS_REGION={region}"), "is no region; one is called eu-west-1"));
        }
        let endpoint = variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
        let endpoint = endpoint.or_else(|| stored("endpoint_url").map(str::to_owned));
        let elsewhere = ELSEWHERE.iter().find(|name| stored(name).is_some());
        Ok(Self {
            endpoint: endpoint.map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
            region,
            keys_elsewhere: elsewhere.filter(|_| keys.is_none() && !skip).map(|name| (*name).to_owned()),
            keys,
            virtual_host: match stored("s3.addressing_style") {
                Some("virtual") => Some(true),
                Some("path") => Some(false),
                _ => None,
            },
            cache: cache_folder(folder("LOAM_CACHE"), folder("XDG_CACHE_HOME"), folder("LOCALAPPDATA"), &user),
            offline: is_offline(),
        })
    }
}

/// Where everything that is fetched and is not the Hub's is kept.
fn cache_folder(own: Option<PathBuf>, caches: Option<PathBuf>, windows: Option<PathBuf>, user: &Path) -> PathBuf {
    let windows = windows.filter(|_| cfg!(windows));
    own.unwrap_or_else(|| caches.or(windows).unwrap_or_else(|| user.join(".cache")).join("loam"))
}

/// Whether a text may be a region's name: it becomes part of hosts and signatures.
pub(super) fn is_region(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(home: &Path, pairs: &[(&str, &str)]) -> Result<Settings, HubError> {
        let home = home.to_str().unwrap();
        Settings::from_variables(|name| {
            let found = pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            found.or_else(|| (name == "HOME").then(|| home.to_owned()))
        })
    }

    #[test]
    fn without_a_word_it_is_amazon_and_nobody() {
        let home = tempfile::tempdir().unwrap();
        let plain = read(home.path(), &[]).unwrap();
        assert_eq!((plain.endpoint, plain.region.as_str(), plain.keys), (None, "us-east-1", None));
        #[cfg(unix)]
        assert_eq!(plain.cache, home.path().join(".cache/loam"));
        assert_eq!(read(home.path(), &[("LOAM_CACHE", "~/c")]).unwrap().cache, home.path().join("c"));
        assert_eq!(read(home.path(), &[("XDG_CACHE_HOME", "/x")]).unwrap().cache, Path::new("/x/loam"));
    }

    #[test]
    fn the_environment_goes_before_the_files() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(home.path().join(".aws").join(name), text).unwrap();
        write(
            "credentials",
            "[default]\naws_access_key_id = D\naws_secret_access_key = d\n\
             [work]\naws_access_key_id = W\naws_secret_access_key = w\naws_session_token = t\n[half]\naws_access_key_id = H\n",
        );
        write(
            "config",
            "[default]\nregion = eu-west-3\n[profile work]\nregion = cn-north-1\nendpoint_url = http://store:9000/\n\
             s3 =\n    addressing_style = virtual\n[profile guest]\nsso_session = corporate\n",
        );
        let read = |pairs: &[(&str, &str)]| read(home.path(), pairs);
        let plain = read(&[]).unwrap();
        assert_eq!((plain.region.as_str(), plain.keys.unwrap().id.as_str()), ("eu-west-3", "D"));
        let work = read(&[("AWS_PROFILE", "work")]).unwrap();
        let keys = work.keys.clone().unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.token.as_deref()), ("W", "w", Some("t")));
        assert!(!format!("{work:?}").contains("\"w\""));
        assert_eq!((work.endpoint.as_deref(), work.region.as_str()), (Some("http://store:9000"), "cn-north-1"));
        assert_eq!(work.virtual_host, Some(true));
        let both = read(&[
            ("AWS_PROFILE", "work"),
            ("AWS_ACCESS_KEY_ID", "E"),
            ("AWS_SECRET_ACCESS_KEY", "e"),
            ("AWS_DEFAULT_REGION", "r2"),
            ("AWS_REGION", "r1"),
            ("AWS_ENDPOINT_URL", "http://b"),
            ("AWS_ENDPOINT_URL_S3", "http://a/"),
        ]);
        let both = both.unwrap();
        let keys = both.keys.unwrap();
        assert_eq!((keys.id.as_str(), keys.token), ("E", None));
        assert_eq!((both.region.as_str(), both.endpoint.as_deref()), ("r1", Some("http://a")));
        assert_eq!(read(&[("AWS_SKIP_SIGNATURE", "true")]).unwrap().keys, None);
        let guest = read(&[("AWS_PROFILE", "guest")]).unwrap();
        assert_eq!((guest.keys, guest.keys_elsewhere.as_deref()), (None, Some("sso_session")));
        for (pairs, expected) in [
            (&[("AWS_PROFILE", "none")][..], "AWS_PROFILE=none"),
            (&[("AWS_PROFILE", "half")], "profile half"),
            (&[("AWS_ACCESS_KEY_ID", "E")], "AWS_SECRET_ACCESS_KEY"),
            (&[("AWS_REGION", "a/b")], "AWS_REGION=a/b"),
        ] {
            let message = read(pairs).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
