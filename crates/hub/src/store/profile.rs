//! The files in which Amazon's own tools keep keys and settings: sections of names and values, some with a block of
//! further ones below them.

use std::collections::BTreeMap;
use std::path::Path;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// What a file says of every profile. Values of a block stand under `block.name`.
#[derive(Debug, Default)]
pub(super) struct Profiles(BTreeMap<String, BTreeMap<String, String>>);

impl Profiles {
    /// Reads a file; one that cannot be read has no profiles.
    pub fn load(path: &Path) -> Self {
        let small = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LARGEST);
        let text = small.then(|| std::fs::read_to_string(path).ok()).flatten();
        text.map(|text| Self::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &str) -> Self {
        let mut profiles: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut section = None;
        let mut block = String::new();
        for line in text.lines() {
            let content = line.trim();
            if content.is_empty() || content.starts_with(['#', ';']) {
                continue;
            }
            if let Some((name, _)) = content.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                // The file of settings says `[profile name]`, except for the default; that of keys says `[name]`.
                let name = name.trim();
                let name = name.strip_prefix("profile ").map_or(name, str::trim);
                section = Some(name.to_owned());
                profiles.entry(name.to_owned()).or_default();
                block.clear();
                continue;
            }
            let (Some(section), Some((name, value))) = (&section, content.split_once('=')) else { continue };
            let (name, value) = (name.trim().to_ascii_lowercase(), without_remark(value));
            let name = if line.starts_with([' ', '\t']) && !block.is_empty() {
                format!("{block}.{name}")
            } else {
                block = if value.is_empty() { name.clone() } else { String::new() };
                name
            };
            profiles.entry(section.clone()).or_default().insert(name, value.to_owned());
        }
        Self(profiles)
    }

    /// Whether there is such a profile.
    pub fn has(&self, profile: &str) -> bool {
        self.0.contains_key(profile)
    }

    /// A profile's value; empty ones count as none.
    pub fn value(&self, profile: &str, name: &str) -> Option<&str> {
        self.0.get(profile)?.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// A value without the remark after it, which a space sets off.
fn without_remark(value: &str) -> &str {
    let end = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark)).min();
    value[..end.unwrap_or(value.len())].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_as_amazons_tools_write_them() {
        let profiles = Profiles::parse(
            "stray = 1\n# remark\n[default]\naws_access_key_id = A # mine\nAWS_SECRET_ACCESS_KEY=s=c#r/t+\n\
             [profile work]\nregion = eu-west-1\ns3 =\n  addressing_style = virtual\n  max_queue_size = 9\n\
             output = json\n[broken\nx\n[ profile  b ]\r\nregion=x\r\nempty =\r\n",
        );
        assert_eq!(profiles.value("default", "aws_access_key_id"), Some("A"));
        assert_eq!(profiles.value("default", "aws_secret_access_key"), Some("s=c#r/t+"));
        assert_eq!(profiles.value("work", "region"), Some("eu-west-1"));
        assert_eq!(profiles.value("work", "s3.addressing_style"), Some("virtual"));
        assert_eq!(profiles.value("work", "output"), Some("json"));
        assert_eq!(profiles.value("b", "region"), Some("x"));
        assert_eq!(profiles.value("b", "empty"), None);
        assert!(profiles.has("work") && !profiles.has("profile work"));
        assert!(!Profiles::load(Path::new("no/such/file")).has("default"));
    }
}
