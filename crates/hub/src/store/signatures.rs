//! Signatures beside botocore's, which `benches/store_signatures.py` writes.

use super::*;
use crate::store::settings::Keys;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    method: String,
    endpoint: String,
    region: String,
    virtual_host: bool,
    token: Option<String>,
    key: Option<String>,
    query: Vec<(String, String)>,
    signature: String,
}

fn client(
    endpoint: Option<&str>,
    region: &str,
    keys: Option<Keys>,
    virtual_host: Option<bool>,
    bucket: &str,
) -> Client {
    Client::new(settings(endpoint, region, keys, virtual_host), bucket).unwrap()
}

fn settings(endpoint: Option<&str>, region: &str, keys: Option<Keys>, virtual_host: Option<bool>) -> Settings {
    let endpoint = endpoint.map(str::to_owned);
    let (region, cache) = (region.to_owned(), std::path::PathBuf::new());
    Settings { endpoint, region, keys, virtual_host, cache, offline: false, keys_elsewhere: None }
}

fn get<'a>(key: Option<&'a str>, query: &'a [(&'a str, &'a str)]) -> Request<'a> {
    Request { method: Method::Get, key, query, headers: &[] }
}

#[test]
fn signatures_are_botocores() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/signatures.json")).unwrap();
    assert!(cases.len() > 80);
    // 2013-05-24T00:00:00Z, and the keys of Amazon's documentation.
    let time = Timestamp::from_second(1_369_353_600).unwrap();
    for case in cases {
        let keys = Keys {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            token: case.token.clone(),
        };
        let client = client(Some(&case.endpoint), &case.region, Some(keys), Some(case.virtual_host), "examplebucket");
        let query: Vec<_> = case.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let method = if case.method == "HEAD" { Method::Head } else { Method::Get };
        let request = Request { method, ..get(case.key.as_deref(), &query) };
        let url = client.url(&client.place(), &request, &time).unwrap();
        let signature = url.rsplit_once("X-Amz-Signature=").unwrap().1;
        assert_eq!(signature, case.signature, "{} {url}", case.method);
    }
}

#[test]
fn buckets_stand_where_their_stores_want_them() {
    let at = |endpoint, region, style, bucket: &str| {
        let client = client(endpoint, region, None, style, bucket);
        client.url(&client.place(), &get(Some("a b"), &[]), &Timestamp::now()).unwrap()
    };
    assert_eq!(at(None, "eu-west-1", None, "data"), "https://data.s3.eu-west-1.amazonaws.com/a%20b");
    assert_eq!(at(None, "cn-north-1", None, "data"), "https://data.s3.cn-north-1.amazonaws.com.cn/a%20b");
    assert_eq!(at(None, "us-east-1", None, "my.data"), "https://s3.us-east-1.amazonaws.com/my.data/a%20b");
    assert_eq!(at(None, "us-east-1", Some(false), "data"), "https://s3.us-east-1.amazonaws.com/data/a%20b");
    assert_eq!(at(Some("http://10.0.0.1:9000/x"), "r", None, "data"), "http://10.0.0.1:9000/x/data/a%20b");
    assert_eq!(at(Some("https://oss.example"), "r", Some(true), "data"), "https://data.oss.example/a%20b");
}

#[test]
fn listings_that_nobody_signs_are_encoded() {
    let client = client(Some("http://h"), "r", None, None, "b");
    let url = client.url(&client.place(), &get(None, &[("prefix", "a b&c=中+/")]), &Timestamp::now()).unwrap();
    assert_eq!(url, "http://h/b/?prefix=a%20b%26c%3D%E4%B8%AD%2B%2F");
}

#[test]
fn what_is_no_endpoint_is_refused() {
    for endpoint in ["localhost:9000", "ftp://h", "nothing", "http://"] {
        let message = Client::new(settings(Some(endpoint), "r", None, None), "b").map(drop).unwrap_err().to_string();
        assert!(message.contains(endpoint) && message.contains("AWS_ENDPOINT_URL"), "{message}");
    }
}
