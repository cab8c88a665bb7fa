//! What a store refuses, in words that say what to do.

use super::client::Refused;
use super::settings::Settings;

/// Why something is not given.
pub(super) fn reason(refused: &Refused, settings: &Settings, bucket: &str, endpoint: &str) -> String {
    let status = refused.status;
    let said = match (refused.refusal.code.as_str(), refused.refusal.message.as_str()) {
        ("", _) => String::new(),
        (code, "") => format!(" ({code})"),
        (code, message) => format!(" ({code}: {message})"),
    };
    let late = refused.refusal.message.contains("has expired") || refused.refusal.message.contains("not valid yet");
    match (refused.refusal.code.as_str(), status.as_u16()) {
        ("NoSuchBucket", _) => {
            let elsewhere =
                if settings.endpoint.is_none() { "; of another store than Amazon's, set AWS_ENDPOINT_URL" } else { "" };
            format!("there is no bucket {bucket} at {endpoint}: check the spelling{elsewhere}")
        }
        ("InvalidAccessKeyId", _) => {
            format!("{endpoint} does not know the keys: check AWS_ACCESS_KEY_ID or the profile, and AWS_ENDPOINT_URL")
        }
        ("SignatureDoesNotMatch", _) => {
            "the secret key does not belong to the other: check AWS_SECRET_ACCESS_KEY or the profile".to_owned()
        }
        ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => {
            "the keys are no longer valid: they were lent for a time (AWS_SESSION_TOKEN), get new ones".to_owned()
        }
        ("RequestTimeTooSkewed", _) => format!("this machine's clock is wrong{said}"),
        ("AccessDenied", _) if late => format!("this machine's clock is wrong{said}"),
        ("InvalidObjectState", _) => {
            "is archived: the store has to be asked to restore it before it can be read".to_owned()
        }
        (_, 301 | 302 | 307 | 308) | ("PermanentRedirect" | "AuthorizationHeaderMalformed", _) => match &refused.region
        {
            Some(region) => format!(
                "the bucket {bucket} is in the region {region}: set AWS_REGION={region}{}",
                match &settings.endpoint {
                    Some(_) => ", and AWS_ENDPOINT_URL to where that region is",
                    None => "",
                }
            ),
            None => {
                format!("the bucket {bucket} is elsewhere than at {endpoint}: set AWS_REGION or AWS_ENDPOINT_URL{said}")
            }
        },
        (_, 401 | 403) => match (&settings.keys, &settings.keys_elsewhere) {
            (Some(keys), _) => {
                format!(
                    "is forbidden to the keys {}: they may not read it, or it is not there and they may not list{said}",
                    keys.id
                )
            }
            (None, Some(way)) => format!(
                "is refused to anyone without keys, and the profile gets its own by {way}, which Loam does not do: \
                 `aws configure export-credentials --format env` prints keys to set"
            ),
            (None, None) => "is refused to anyone without keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                             AWS_PROFILE"
                .to_owned(),
        },
        (_, 404) => "is not there: check the spelling of bucket and key".to_owned(),
        _ => format!("{endpoint} answers {status}{said}"),
    }
}
