//! Redaction: what tells who a person is, or lets a stranger in, is taken out of a text before a model learns it by heart.
//!
//! Each kind is found by its form and, where it has one, by its checksum: e-mail and IP addresses, phone numbers, card
//! numbers, Chinese identity numbers, keys and tokens. A hit stands alone: digits of a longer number, versions, dates,
//! prices and times are left as they are. Names and postal addresses have no form, and are not looked for.
//!
//! One pass for each form looks only at the places that could begin it (an `@`, a digit, a colon, a prefix), so that time
//! grows with the text, whatever stands in it.

mod addresses;
mod keys;
mod numbers;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One kind of what is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Redaction {
    /// An e-mail address.
    Email,
    /// A phone number: international with its `+`, North American, Chinese.
    Phone,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// The number of a payment card, by the prefixes in use and the check digit of Luhn (ISO/IEC 7812).
    Card,
    /// A Chinese identity number of 18 characters, by region, date and check character (GB 11643).
    ChineseId,
    /// An access key of Amazon Web Services.
    AwsKey,
    /// A token of GitHub.
    GithubToken,
    /// A key of OpenAI, or of another service that writes them alike (`sk-…`).
    OpenaiKey,
    /// A key of Google's interfaces.
    GoogleKey,
    /// A token of Slack.
    SlackToken,
    /// A secret or restricted key of Stripe.
    StripeKey,
    /// A token of Hugging Face, GitLab or npm.
    PlatformToken,
    /// A JSON web token (RFC 7519), signed.
    Jwt,
    /// A block that holds a private key (RFC 7468).
    PrivateKey,
}

impl Redaction {
    /// How many kinds there are.
    pub const COUNT: usize = 15;

    /// Every kind.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Email,
        Self::Phone,
        Self::Ipv4,
        Self::Ipv6,
        Self::Card,
        Self::ChineseId,
        Self::AwsKey,
        Self::GithubToken,
        Self::OpenaiKey,
        Self::GoogleKey,
        Self::SlackToken,
        Self::StripeKey,
        Self::PlatformToken,
        Self::Jwt,
        Self::PrivateKey,
    ];

    /// What a recipe calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Card => "card",
            Self::ChineseId => "chinese_id",
            Self::AwsKey => "aws_key",
            Self::GithubToken => "github_token",
            Self::OpenaiKey => "openai_key",
            Self::GoogleKey => "google_key",
            Self::SlackToken => "slack_token",
            Self::StripeKey => "stripe_key",
            Self::PlatformToken => "platform_token",
            Self::Jwt => "jwt",
            Self::PrivateKey => "private_key",
        }
    }

    /// What stands for it under [`Replacement::Mask`].
    pub fn mask(self) -> &'static str {
        match self {
            Self::Email => "<EMAIL>",
            Self::Phone => "<PHONE>",
            Self::Ipv4 => "<IPV4>",
            Self::Ipv6 => "<IPV6>",
            Self::Card => "<CARD>",
            Self::ChineseId => "<CHINESE_ID>",
            Self::AwsKey => "<AWS_KEY>",
            Self::GithubToken => "<GITHUB_TOKEN>",
            Self::OpenaiKey => "<OPENAI_KEY>",
            Self::GoogleKey => "<GOOGLE_KEY>",
            Self::SlackToken => "<SLACK_TOKEN>",
            Self::StripeKey => "<STRIPE_KEY>",
            Self::PlatformToken => "<PLATFORM_TOKEN>",
            Self::Jwt => "<JWT>",
            Self::PrivateKey => "<PRIVATE_KEY>",
        }
    }

    /// What stands for it under [`Replacement::Example`], in turn: addresses and numbers that are reserved for
    /// documentation, or the mask where nothing is.
    fn examples(self) -> &'static [&'static str] {
        match self {
            Self::Email => &["email@example.com", "firstname.lastname@example.org"],
            Self::Phone => &["+1-202-555-0100", "+1-202-555-0143"],
            Self::Ipv4 => &["192.0.2.1", "198.51.100.7", "203.0.113.42"],
            Self::Ipv6 => &["2001:db8::1", "2001:db8::2:42"],
            Self::AwsKey => &["AKIAIOSFODNN7EXAMPLE"],
            _ => &[],
        }
    }
}

impl fmt::Display for Redaction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Redaction {
    type Err = String;

    /// The kind of this name, or the names that there are and the nearest of them.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(|kind| format!("\"{kind}\""));
            let plain = text.to_lowercase().replace([' ', '-'], "_");
            let distance = |kind: &Self| strsim::damerau_levenshtein(&plain, kind.name());
            let nearest = Self::ALL.into_iter().min_by_key(distance);
            let near = nearest.filter(|kind| distance(kind) <= (kind.name().len() / 3).max(1));
            let hint = near.map(|kind| format!("; did you mean \"{kind}\"?")).unwrap_or_default();
            format!("kinds of {}{hint}", names.join(", "))
        })
    }
}

impl TryFrom<String> for Redaction {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Redaction> for String {
    fn from(kind: Redaction) -> Self {
        kind.name().to_owned()
    }
}

/// What is written in place of a hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replacement {
    /// Its kind: `<EMAIL>`.
    #[default]
    Mask,
    /// An example that belongs to nobody, so that the text reads as before.
    Example,
}

/// What is looked for, and what is written in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redactor {
    /// The kinds that are taken out. Every one by default.
    pub kinds: Vec<Redaction>,
    /// What stands for them.
    pub replacement: Replacement,
    /// Takes out addresses too that no public network has: they tell nothing of a person, and stand in many manuals.
    pub private_addresses: bool,
}

impl Default for Redactor {
    fn default() -> Self {
        Self { kinds: Redaction::ALL.to_vec(), replacement: Replacement::Mask, private_addresses: false }
    }
}

/// A text without what was taken out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted<'t> {
    /// The text; borrowed where nothing was found.
    pub text: Cow<'t, str>,
    /// How many of each kind there were, in the order of [`Redaction::ALL`].
    pub counts: [u32; Redaction::COUNT],
}

impl Redacted<'_> {
    /// How many of a kind there were.
    pub fn count(&self, kind: Redaction) -> u32 {
        self.counts[kind as usize]
    }
}

/// Where something was found, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hit {
    start: usize,
    end: usize,
    kind: Redaction,
}

impl Redactor {
    /// Takes them out of a text.
    pub fn redact<'t>(&self, text: &'t str) -> Redacted<'t> {
        let mut counts = [0; Redaction::COUNT];
        let hits = self.hits(text);
        if hits.is_empty() {
            return Redacted { text: Cow::Borrowed(text), counts };
        }
        let mut clean = String::with_capacity(text.len());
        let mut copied = 0;
        for Hit { start, end, kind } in hits {
            clean.push_str(&text[copied..start]);
            let examples = kind.examples();
            clean.push_str(match self.replacement {
                Replacement::Example if !examples.is_empty() => {
                    examples[counts[kind as usize] as usize % examples.len()]
                }
                _ => kind.mask(),
            });
            counts[kind as usize] += 1;
            copied = end;
        }
        clean.push_str(&text[copied..]);
        Redacted { text: Cow::Owned(clean), counts }
    }

    /// What is found, in order and apart from each other.
    fn hits(&self, text: &str) -> Vec<Hit> {
        let wanted = |kind: Redaction| self.kinds.contains(&kind);
        let mut hits = Vec::new();
        if wanted(Redaction::Email) {
            addresses::emails(text, &mut hits);
        }
        if wanted(Redaction::Ipv6) {
            addresses::ipv6(text, self.private_addresses, &mut hits);
        }
        numbers::find(text, self.private_addresses, &mut hits);
        keys::find(text, &mut hits);
        hits.retain(|hit| wanted(hit.kind));
        // Of two that overlap, the one that begins first is taken, and of two that begin together the longer.
        hits.sort_by_key(|hit| (hit.start, usize::MAX - hit.end));
        let mut end = 0;
        hits.retain(|hit| {
            let apart = hit.start >= end;
            if apart {
                end = hit.end;
            }
            apart
        });
        hits
    }
}

#[cfg(test)]
mod tests;
