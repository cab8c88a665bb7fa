//! One spelling for one address.

/// Parameters that say where a reader came from, not what is read; those that begin with `utm_` are others.
const TRACKING: [&str; 22] = [
    "_ga",
    "_gl",
    "_hsenc",
    "_hsmi",
    "cmpid",
    "dclid",
    "fbclid",
    "gbraid",
    "gclid",
    "gclsrc",
    "igshid",
    "jsessionid",
    "mc_cid",
    "mc_eid",
    "mkt_tok",
    "msclkid",
    "phpsessid",
    "sessionid",
    "sid",
    "twclid",
    "wbraid",
    "yclid",
];

/// Brings an address to the spelling by which two of one page are the same.
///
/// Left out are the scheme, a user's name, `www.`, the port of the scheme (80 and 443), dots behind the host, slashes at the
/// end of the path, the fragment, and parameters for tracking and sessions; the host is in lower case, the other parameters
/// are in order. Path and values keep their case, since servers tell it apart. What is no address comes back trimmed.
///
/// ```
/// use loam_corpus::deduplicate::normalize_url;
///
/// let one = normalize_url("HTTPS://www.Example.org:443/Page/?b=2&utm_source=mail&a=1#part");
/// assert_eq!(one, "example.org/Page?a=1&b=2");
/// assert_eq!(one, normalize_url("http://example.org/Page?a=1&b=2"));
/// ```
pub fn normalize_url(url: &str) -> String {
    let url = url.trim();
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => rest,
        _ => url.strip_prefix("//").unwrap_or(url),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_lowercase();
    let host = [":80", ":443"].iter().find_map(|port| host.strip_suffix(port)).unwrap_or(&host);
    let host = host.trim_end_matches('.');
    let host = host.strip_prefix("www.").unwrap_or(host);
    let mut parameters: Vec<&str> =
        query.split('&').filter(|parameter| !parameter.is_empty() && !is_tracking(parameter)).collect();
    parameters.sort_unstable();
    let mut normal = String::with_capacity(url.len());
    normal.push_str(host);
    normal.push_str(path.trim_end_matches('/'));
    for (number, parameter) in parameters.iter().enumerate() {
        normal.push(if number == 0 { '?' } else { '&' });
        normal.push_str(parameter);
    }
    normal
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character))
}

fn is_tracking(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or_default().to_ascii_lowercase();
    name.starts_with("utm_") || TRACKING.binary_search(&name.as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_page() {
        for url in [
            "https://example.org/a/b",
            "http://WWW.example.org./a/b/",
            " //example.org:80/a/b//#top ",
            "example.org/a/b?",
            "https://user:word@example.org:443/a/b?fbclid=1&UTM_Medium=x&&gclid#x?y",
        ] {
            assert_eq!(normalize_url(url), "example.org/a/b", "{url}");
        }
    }

    #[test]
    fn other_pages_stay_apart() {
        let pages =
            ["a.org/x", "a.org/X", "a.org/x?p=1", "a.org/x?p=2", "a.org:8080/x", "b.a.org/x", "a.org", "a.org/x?P=1"];
        let normal: Vec<_> = pages.iter().map(|page| normalize_url(page)).collect();
        assert_eq!(normal, pages);
    }

    #[test]
    fn anything_goes_in() {
        assert_eq!(normalize_url(""), "");
        assert_eq!(normalize_url("https://"), "");
        assert_eq!(normalize_url("not an address"), "not an address");
        assert_eq!(normalize_url("https://例子.中国/路?问=答"), "例子.中国/路?问=答");
        assert_eq!(normalize_url("1:/x://y?://"), "1:/x://y?://");
        assert!(TRACKING.is_sorted());
    }
}
