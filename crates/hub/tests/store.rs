//! A store on this machine: it checks every signature by its own computation, pages its listings, cuts bodies short, is
//! busy, changes objects under the reader's eyes, and refuses in all the ways that stores do.

use loam_hub::HubError;
use loam_hub::store::{Address, Found, Keys, Settings, Store};
use md5::Md5;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+secret";

/// What the store has, how it behaves, and what it was asked.
#[derive(Default)]
struct Shelf {
    objects: BTreeMap<String, Vec<u8>>,
    /// Tags that are not the MD5.
    tags: BTreeMap<String, String>,
    /// Further headers of every object.
    headers: String,
    /// Whether requests have to be signed.
    signed: bool,
    /// The region whose signatures are taken.
    region: Option<&'static str>,
    /// Requests that are answered with 503 before any other.
    busy: usize,
    /// How much of what is asked for the next downloads send, in halves; all of it when there is no more of this.
    halves: VecDeque<usize>,
    /// Contents that an object gets when as many downloads have been.
    change: Option<(usize, &'static str, String)>,
    /// Whether `If-Match` is not looked at.
    careless: bool,
    /// What every request is answered with.
    refusal: Option<(&'static str, &'static str)>,
    /// Keys on a page.
    page: usize,
    /// Whether the last page leads to itself.
    round: bool,
    asked: Vec<String>,
}

struct Server {
    endpoint: String,
    shelf: Arc<Mutex<Shelf>>,
}

impl Server {
    fn new(shelf: Shelf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shelf = Arc::new(Mutex::new(Shelf { page: shelf.page.max(2), ..shelf }));
        let shared = shelf.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = shared.clone();
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        Self { endpoint, shelf }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap()
    }

    fn settings(&self, cache: &Path) -> Settings {
        let secret = SECRET.to_owned();
        Settings {
            endpoint: Some(self.endpoint.clone()),
            region: "us-east-1".to_owned(),
            keys: self.shelf().signed.then(|| Keys { id: "ID".to_owned(), secret, token: Some("to/ken=".to_owned()) }),
            virtual_host: None,
            cache: cache.to_owned(),
            offline: false,
            keys_elsewhere: None,
        }
    }

    fn find(&self, cache: &Path, address: &str) -> Result<(Store, Found), HubError> {
        let store = Store::new(Address::parse(address).unwrap(), self.settings(cache))?;
        let found = store.find(&is_text)?;
        Ok((store, found))
    }

    /// Keys and contents of what an address leads to.
    fn read(&self, cache: &Path, address: &str) -> Result<Vec<(String, Vec<u8>)>, HubError> {
        let (store, found) = self.find(cache, address)?;
        let files = store.fetch(&found.objects)?;
        let keys = found.objects.into_iter().map(|object| object.key);
        Ok(keys.zip(files.iter().map(|file| std::fs::read(file).unwrap())).collect())
    }

    fn error(&self, address: &str) -> String {
        let cache = tempfile::tempdir().unwrap();
        self.read(cache.path(), address).unwrap_err().to_string()
    }

    /// What was asked since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shelf().asked)
    }
}

fn shelf(objects: &[(&str, &str)]) -> Shelf {
    let objects = objects.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec()));
    Shelf { objects: objects.collect(), signed: true, ..Shelf::default() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// RFC 2104, for keys of at most a block.
fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).unwrap_or(&0) ^ with).collect() };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

/// What the signature of a request has to be, by the description of Signature Version 4.
fn signature(method: &str, path: &str, query: &str, host: &str) -> String {
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("X-Amz-Signature=")).collect();
    pairs.sort_unstable();
    let value =
        |name: &str| pairs.iter().find_map(|pair| pair.strip_prefix(name)).unwrap_or_default().replace("%2F", "/");
    let request = format!("{method}\n{path}\n{}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD", pairs.join("&"));
    let (time, credential) = (value("X-Amz-Date="), value("X-Amz-Credential="));
    let scope = credential.split_once('/').map(|(_, scope)| scope).unwrap_or_default();
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let key = scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| hmac(&key, part));
    hex(&hmac(&key, &text))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap();
        bytes.push(if byte == b'%' { (digit() * 16 + digit()) as u8 } else { byte });
    }
    String::from_utf8(bytes).unwrap()
}

fn answer(mut stream: TcpStream, shelf: &Mutex<Shelf>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let headers: Vec<(String, String)> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())))
        .collect();
    let header = |name: &str| headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    let (method, rest) = request.split_once(' ').unwrap_or_default();
    let target = rest.split(' ').next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut shelf = shelf.lock().unwrap();
    let shelf = &mut *shelf;
    let key = path.strip_prefix("/data/").map(decoded);
    let extra =
        ["range", "if-match"].map(|name| header(name).map(|value| format!(" {name}={value}")).unwrap_or_default());
    shelf.asked.push(format!("{method} {}{}", key.clone().unwrap_or_default(), extra.concat()));

    let reply = |status: &str, headers: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(if method == "HEAD" { b"" } else { body });
        bytes
    };
    let refuse = |status: &str, code: &str, headers: &str| {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>It is so.</Message></Error>");
        reply(status, headers, body.as_bytes())
    };
    let value = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(decoded).unwrap_or_default()
    };
    let signed = value("X-Amz-Signature") == signature(method, path, query, header("host").unwrap_or_default());
    let region = value("X-Amz-Credential").split('/').nth(2).unwrap_or_default().to_owned();
    let bytes = if shelf.busy > 0 {
        shelf.busy -= 1;
        refuse("503 Slow Down", "SlowDown", "")
    } else if let Some((status, code)) = shelf.refusal {
        refuse(status, code, "")
    } else if let Some(right) = shelf.region.filter(|right| *right != region) {
        refuse("301 Moved Permanently", "PermanentRedirect", &format!("x-amz-bucket-region: {right}\r\n"))
    } else if shelf.signed != signed || (!shelf.signed && query.contains("X-Amz-")) {
        refuse("403 Forbidden", if query.contains("X-Amz-") { "SignatureDoesNotMatch" } else { "AccessDenied" }, "")
    } else {
        match key.as_deref() {
            None => refuse("404 Not Found", "NoSuchBucket", ""),
            Some("") => reply("200 OK", "content-type: application/xml\r\n", listing(shelf, &value).as_bytes()),
            Some(key) => {
                if method == "GET"
                    && let Some((downloads, key, text)) = &mut shelf.change
                {
                    if *downloads == 0 {
                        shelf.objects.insert((*key).to_owned(), text.clone().into_bytes());
                    }
                    *downloads = downloads.wrapping_sub(1);
                }
                let from =
                    header("range").and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
                match shelf.objects.get(key) {
                    None => refuse("404 Not Found", "NoSuchKey", ""),
                    Some(_) if !shelf.careless && header("if-match").is_some_and(|tag| tag != etag(shelf, key)) => {
                        refuse("412 Precondition Failed", "PreconditionFailed", "")
                    }
                    Some(bytes) if from.is_some_and(|from: usize| from >= bytes.len()) => {
                        refuse("416 Range Not Satisfiable", "InvalidRange", "")
                    }
                    Some(bytes) => {
                        let tag = format!("etag: {}\r\n{}", etag(shelf, key), shelf.headers);
                        let (status, range) = match from {
                            None => ("200 OK", String::new()),
                            Some(from) => (
                                "206 Partial Content",
                                format!("content-range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len()),
                            ),
                        };
                        let rest: &[u8] = &bytes[from.unwrap_or(0)..];
                        let mut bytes = reply(status, &format!("{tag}{range}"), rest);
                        let halves = if method == "GET" { shelf.halves.pop_front() } else { None };
                        let lacking = halves.map_or(0, |halves| rest.len() - rest.len() * halves / 2);
                        bytes.truncate(bytes.len() - lacking);
                        bytes
                    }
                }
            }
        }
    };
    let _ = stream.write_all(&bytes);
}

fn etag(shelf: &Shelf, key: &str) -> String {
    let own = || format!("\"{}\"", hex(&Md5::digest(&shelf.objects[key])));
    shelf.tags.get(key).cloned().unwrap_or_else(own)
}

/// ListObjectsV2: keys encoded as forms are, a token that has to be encoded, and the folders that a delimiter leaves.
fn listing(shelf: &Shelf, value: &dyn Fn(&str) -> String) -> String {
    let (prefix, after, delimiter) = (value("prefix"), value("continuation-token"), value("delimiter"));
    assert_eq!((value("list-type"), value("encoding-type")), ("2".to_owned(), "url".to_owned()));
    let after = after.strip_prefix("after &=+").map(str::to_owned);
    let keys = shelf
        .objects
        .keys()
        .filter(|key| key.starts_with(&prefix) && (delimiter.is_empty() || !key[prefix.len()..].contains(&delimiter)));
    let keys: Vec<&String> = keys.filter(|key| after.as_ref().is_none_or(|after| *key > after)).collect();
    let page = &keys[..keys.len().min(shelf.page)];
    let mut xml =
        format!("<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Prefix>{prefix}</Prefix>");
    for key in page {
        let encoded: String = key
            .bytes()
            .map(|byte| match byte {
                b' ' => "+".to_owned(),
                b'/' | b'.' | b'0'..=b'9' | b'a'..=b'z' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect();
        let tag = etag(shelf, key).replace('"', "&quot;");
        let size = shelf.objects[*key].len();
        xml += &format!("<Contents><Key>{encoded}</Key><ETag>{tag}</ETag><Size>{size}</Size></Contents>");
    }
    let more = keys.len() > page.len() || shelf.round;
    if let Some(last) = page.last().or(keys.last()).filter(|_| more) {
        xml += &format!("<NextContinuationToken>after &amp;=+{}</NextContinuationToken>", last.replace('&', "&amp;"));
    } else if more {
        xml += "<NextContinuationToken>after &amp;=+z</NextContinuationToken>";
    }
    format!("{xml}<EncodingType>url</EncodingType><IsTruncated>{more}</IsTruncated></ListBucketResult>")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() { folders.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files
}

const ODD: [&str; 7] = [
    "odd/a b+c&d.txt",
    "odd/中文/数据 1.txt",
    "odd//x.txt",
    "odd/100%25/a%20.txt",
    "odd/a..b/x....txt",
    "odd/~'()*!.txt",
    "odd/C:\\x.txt",
];

fn is_text(key: &str) -> bool {
    std::path::Path::new(key).extension().is_some_and(|end| end == "txt")
}

#[test]
fn keys_with_any_characters_come_and_stay_in_the_cache() {
    let objects: Vec<(&str, &str)> = ODD.iter().map(|key| (*key, *key)).chain([("/front/y.txt", "y")]).collect();
    let server = Server::new(shelf(&objects));
    let cache = tempfile::tempdir().unwrap();
    let root = cache.path().join("a/b/cache");
    let all = server.read(&root, "s3://data/odd/").unwrap();
    let mut sorted = ODD.to_vec();
    sorted.sort_unstable();
    assert_eq!(all.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), sorted);
    assert!(all.iter().all(|(key, text)| key.as_bytes() == text));
    for key in ODD {
        // Also one by one, where the key stands in the URL and not in a listing; what matches nothing but itself is a name.
        let one = server.read(&root, &format!("s3://data/{key}")).unwrap();
        assert_eq!(one, [(key.to_owned(), key.as_bytes().to_vec())]);
    }
    assert_eq!(server.read(&root, "s3://data//front").unwrap()[0].0, "/front/y.txt");
    assert_eq!(server.read(&root, "s3://data//fr*/*.txt").unwrap()[0].0, "/front/y.txt");
    assert!(files(cache.path()).iter().all(|file| file.starts_with(root.join("s3"))));
}

#[test]
fn what_is_named_is_found_through_pages() {
    let server = Server::new(shelf(&[
        ("a.txt", "0"),
        ("d/1.txt", "1"),
        ("d/2.txt", "2"),
        ("d/3.bin", "3"),
        ("d/4.txt", "4"),
        ("d/.hidden/5.txt", "5"),
        ("d/e/", ""),
        ("d/e/6.txt", "6"),
        ("d/e/[7].txt", "7"),
        ("dd/8.txt", "8"),
    ]));
    let cache = tempfile::tempdir().unwrap();
    let contents = |address: &str| -> String {
        server
            .read(cache.path(), address)
            .unwrap()
            .into_iter()
            .map(|(_, text)| String::from_utf8(text).unwrap())
            .collect()
    };
    for (address, expected) in [
        ("s3://data/d", "12467"),
        ("s3://data/d/", "12467"),
        ("s3://data", "0124678"),
        ("s3://data/", "0124678"),
        ("s3://data/d/*.txt", "124"),
        ("s3://data/d/[13].txt", "1"),
        ("s3://data/?/[!1]*.txt", "24"),
        ("s3://data/*/*.txt", "1248"),
        ("s3://data/**/*.txt", "01245678"),
        ("s3://data/d/e/[7].txt", "7"),
        ("s3://data/d/3.bin", "3"),
    ] {
        let mut found: Vec<char> = contents(address).chars().collect();
        found.sort_unstable();
        assert_eq!(found.into_iter().collect::<String>(), expected, "{address}");
    }
    let (_, found) = server.find(cache.path(), "s3://data/d").unwrap();
    assert_eq!((found.skipped, found.named), (vec!["s3://data/d/3.bin".to_owned()], false));
    assert!(server.find(cache.path(), "s3://data/d/e/[7].txt").unwrap().1.named);
    // The last folder of a glob alone is listed: five keys below d/ that begin so, two a page.
    server.asked();
    contents("s3://data/d/*.txt");
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_second_reading_costs_a_listing_and_a_change_is_fetched() {
    let server = Server::new(shelf(&[("d/1.txt", "one"), ("d/2.txt", "two"), ("d/3.txt", "")]));
    let cache = tempfile::tempdir().unwrap();
    let read = |address: &str| server.read(cache.path(), address).unwrap();
    assert_eq!(read("s3://data/d/*.txt").len(), 3);
    server.asked();
    read("s3://data/d/*.txt");
    assert_eq!(server.asked(), ["GET ", "GET "]);
    read("s3://data/d/1.txt");
    assert_eq!(server.asked(), ["HEAD d/1.txt"]);
    server.shelf().objects.insert("d/2.txt".to_owned(), b"TWO".to_vec());
    assert_eq!(read("s3://data/d/*.txt")[1].1, b"TWO");
    let tag = hex(&Md5::digest("TWO"));
    assert_eq!(server.asked(), ["GET ".to_owned(), "GET ".to_owned(), format!("GET d/2.txt if-match=\"{tag}\"")]);
    // What a crash shortened is fetched anew.
    let file = files(cache.path()).into_iter().find(|file| std::fs::read(file).unwrap() == b"one").unwrap();
    std::fs::write(&file, "on").unwrap();
    assert_eq!(read("s3://data/d/1.txt")[0].1, b"one");

    // Offline, the cache is enough, the last contents are meant, and nobody is asked.
    server.asked();
    let offline = |address: &str| {
        let settings = Settings { offline: true, ..server.settings(cache.path()) };
        let store = Store::new(Address::parse(address).unwrap(), settings)?;
        let found = store.find(&is_text)?;
        Ok::<_, HubError>(
            store.fetch(&found.objects)?.iter().map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(offline("s3://data/d").unwrap(), [b"one".to_vec(), b"TWO".to_vec(), Vec::new()]);
    assert_eq!(offline("s3://data/d/[1]*").unwrap(), [b"one".to_vec()]);
    assert_eq!(offline("s3://data/d/2.txt").unwrap(), [b"TWO".to_vec()]);
    for address in ["s3://data/d/4.txt", "s3://other/d"] {
        let message = offline(address).unwrap_err().to_string();
        assert!(message.contains(address) && message.contains("is not in the cache"), "{message}");
    }
    assert!(server.asked().is_empty());
}

#[test]
fn a_cut_body_goes_on_and_a_busy_store_is_asked_again() {
    let text = "0123456789".repeat(30_000);
    let server = Server::new(Shelf { halves: [1, 1].into(), busy: 2, ..shelf(&[("big.txt", &text)]) });
    let cache = tempfile::tempdir().unwrap();
    assert_eq!(server.read(cache.path(), "s3://data/big.txt").unwrap()[0].1, text.as_bytes());
    let tag = hex(&Md5::digest(&text));
    let download = |from: usize| {
        let range = if from > 0 { format!(" range=bytes={from}-") } else { String::new() };
        format!("GET big.txt{range} if-match=\"{tag}\"")
    };
    assert_eq!(
        server.asked(),
        // Busy to HEAD twice.
        [
            "HEAD big.txt".to_owned(),
            "HEAD big.txt".to_owned(),
            "HEAD big.txt".to_owned(),
            download(0),
            download(150_000),
            download(225_000)
        ]
    );
}

#[test]
fn a_body_that_never_comes_is_told_and_what_came_is_kept() {
    let text = "x".repeat(1000);
    let server = Server::new(Shelf { halves: [1, 0, 0, 0, 0, 0].into(), ..shelf(&[("a.txt", &text)]) });
    let cache = tempfile::tempdir().unwrap();
    let error = server.read(cache.path(), "s3://data/a.txt").unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, HubError::Network { .. }) && message.contains("s3://data/a.txt"), "{message}");
    assert!(message.contains("fetched whole") && message.contains("goes on from there"), "{message}");
    let partial = files(cache.path()).into_iter().find(|file| file.to_string_lossy().ends_with(".incomplete")).unwrap();
    assert_eq!(std::fs::metadata(&partial).unwrap().len(), 500);
    // The next call goes on.
    server.asked();
    assert_eq!(server.read(cache.path(), "s3://data/a.txt").unwrap()[0].1, text.as_bytes());
    assert!(server.asked()[1].contains("range=bytes=500-"));
}

#[test]
fn an_object_that_changes_meanwhile_is_one_or_the_other() {
    for careless in [false, true] {
        for (downloads, halves) in [(0, vec![]), (1, vec![1]), (1, vec![0])] {
            let (old, new) = ("old, longer".repeat(1000), "new".repeat(1000));
            let change = Some((downloads, "d/a.txt", new.clone()));
            let server = Server::new(Shelf { careless, change, halves: halves.into(), ..shelf(&[("d/a.txt", &old)]) });
            let cache = tempfile::tempdir().unwrap();
            // The rest of the new is not put to half of the old.
            assert_eq!(server.read(cache.path(), "s3://data/d/").unwrap()[0].1, new.as_bytes());
            assert!(files(cache.path()).iter().all(|file| !file.to_string_lossy().ends_with(".incomplete")));
        }
    }
}

#[test]
fn contents_are_checked_where_their_tag_is_a_hash() {
    let server = Server::new(shelf(&[("a.txt", "text")]));
    server.shelf().tags.insert("a.txt".to_owned(), format!("\"{}\"", "0".repeat(32)));
    let cache = tempfile::tempdir().unwrap();
    let error = server.read(cache.path(), "s3://data/a.txt").unwrap_err();
    assert!(matches!(error, HubError::Damaged { .. }) && error.to_string().contains("hash"), "{error}");
    assert!(!files(cache.path()).iter().any(|file| std::fs::read(file).unwrap() == b"text"));
    // With a key of the user's, the tag is no hash; nor is that of an object written in parts, or of another store.
    server.shelf().headers = "x-amz-server-side-encryption: aws:kms\r\n".to_owned();
    assert_eq!(server.read(cache.path(), "s3://data/a.txt").unwrap()[0].1, b"text");
    server.shelf().headers.clear();
    for tag in [format!("\"{}-2\"", "0".repeat(32)), "\"CKih16GjycICEAE=/..\"".to_owned(), "W/\"weak\"".to_owned()] {
        server.shelf().tags.insert("a.txt".to_owned(), tag);
        assert_eq!(server.read(cache.path(), "s3://data/a.txt").unwrap()[0].1, b"text");
    }
}

#[test]
fn many_come_at_once_and_in_their_order() {
    let texts: Vec<(String, String)> =
        (0..60).map(|n| (format!("d/{n:02}.txt"), n.to_string().repeat(n + 1))).collect();
    let objects: Vec<(&str, &str)> = texts.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
    let server = Server::new(Shelf { page: 7, ..shelf(&objects) });
    let cache = tempfile::tempdir().unwrap();
    // Two readers of one cache do not tread on each other.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let read = server.read(cache.path(), "s3://data/d/*").unwrap();
                assert!(read.iter().zip(&texts).all(|((key, text), (k, t))| key == k && text == t.as_bytes()));
            });
        }
    });
    assert_eq!(server.asked().iter().filter(|asked| asked.starts_with("GET d/")).count(), 60);
}

#[test]
fn a_bucket_of_another_region_is_asked_there_once() {
    let server = Server::new(Shelf { region: Some("eu-north-1"), ..shelf(&[("a.txt", "text")]) });
    let cache = tempfile::tempdir().unwrap();
    assert_eq!(server.read(cache.path(), "s3://data/a.txt").unwrap()[0].1, b"text");
    assert_eq!(server.asked().len(), 3);
    // A store that sends on and on is not followed.
    server.shelf().region = Some("not a region");
    assert!(server.error("s3://data/a.txt").contains("AWS_REGION"));
    server.shelf().region = Some("eu-south-2");
    server.shelf().signed = false;
    let message = server.error("s3://data/a.txt");
    assert!(message.contains("s3://data/a.txt") && message.contains("set AWS_REGION=eu-south-2"), "{message}");
}

#[test]
fn refusals_say_what_to_do() {
    let server = Server::new(shelf(&[("a.txt", "text"), ("b.bin", "x"), ("dots/../a.txt", "x")]));
    for (address, expected) in [
        ("s3://data/none.txt", "check the spelling"),
        ("s3://data/*.csv", "matches no object"),
        ("s3://data/b*", "there are s3://data/b.bin"),
        ("s3://none/a.txt", "no bucket none"),
        ("s3://none/*.txt", "no bucket none"),
        ("s3://data/dots", "no URL can hold"),
        ("s3://data/a**", "is no pattern"),
    ] {
        let message = server.error(address);
        assert!(message.contains(expected) && message.starts_with("s3://"), "{address}: {message}");
    }
    for (status, code, expected) in [
        ("403 Forbidden", "AccessDenied", "forbidden to the keys ID"),
        ("403 Forbidden", "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        ("403 Forbidden", "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
        ("400 Bad Request", "ExpiredToken", "AWS_SESSION_TOKEN"),
        ("403 Forbidden", "RequestTimeTooSkewed", "clock"),
        ("403 Forbidden", "InvalidObjectState", "archived"),
        ("307 Temporary Redirect", "TemporaryRedirect", "AWS_REGION"),
        ("418 Teapot", "ShortAndStout", "418"),
    ] {
        server.shelf().refusal = Some((status, code));
        for address in ["s3://data/a.txt", "s3://data/*.txt"] {
            let message = server.error(address);
            assert!(message.contains(expected) && !message.contains(SECRET), "{code}: {message}");
            assert!(!message.contains("X-Amz-Signature"), "{message}");
        }
    }
    server.shelf().refusal = None;
    // A store that takes only whom it knows, and one that has no notion of signatures.
    let cache = tempfile::tempdir().unwrap();
    let settings = Settings { keys: None, ..server.settings(cache.path()) };
    let ask = |settings: Settings| {
        let store = Store::new(Address::parse("s3://data/a.txt").unwrap(), settings).unwrap();
        store.find(&|_| true).unwrap_err().to_string()
    };
    assert!(ask(settings.clone()).contains("AWS_PROFILE"));
    let elsewhere = Some("sso_session".to_owned());
    assert!(ask(Settings { keys_elsewhere: elsewhere, ..settings }).contains("export-credentials"));
    server.shelf().signed = false;
    assert_eq!(server.read(cache.path(), "s3://data/a.txt").unwrap()[0].1, b"text");
    server.shelf().round = true;
    assert!(server.error("s3://data/*.txt").contains("does not end"));
}

#[test]
fn nobody_there_is_told() {
    let server = Server::new(shelf(&[]));
    let cache = tempfile::tempdir().unwrap();
    let settings = Settings { endpoint: Some("http://127.0.0.1:9".to_owned()), ..server.settings(cache.path()) };
    let store = Store::new(Address::parse("s3://data/a.txt").unwrap(), settings).unwrap();
    let message = store.find(&|_| true).unwrap_err().to_string();
    assert!(message.contains("http://127.0.0.1:9 cannot be reached") && message.contains("--offline"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    let server = Server::new(shelf(&[("a.txt", "text")]));
    let cache = tempfile::tempdir().unwrap();
    let read = || server.read(cache.path(), "s3://data/a.txt");
    read().unwrap();
    // What it grows in is the device that is always full.
    let file = files(cache.path()).into_iter().find(|file| file.ends_with("a.txt")).unwrap();
    let partial = file.parent().unwrap().with_extension("incomplete");
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
    let error = read().unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, HubError::Full { .. }) && message.contains("LOAM_CACHE"), "{message}");
}
