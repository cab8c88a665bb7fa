//! A Hub on this machine: listings, a redirect to storage, cut connections, wrong hashes, refusals, and no Hub at all.

use loam_hub::{Hub, Reference, Settings};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Serves `org/name` with `big` as its weights, and notes the requests. The first download of weights is cut short.
fn serve(big: Vec<u8>, tag: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let range =
                headers.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
            let has_token = headers.iter().any(|line| line.to_lowercase() == "authorization: bearer secret");
            notes.lock().unwrap().push(format!("{request} {} {has_token}", range.clone().unwrap_or_default()));
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let file = path.strip_prefix(&format!("/org/name/resolve/{COMMIT}/")).unwrap_or_default();
            let small = |text: &str, more: &str| {
                format!("HTTP/1.1 200 OK\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n{text}", text.len())
                    .into_bytes()
            };
            let failure = |status: &str| {
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
            };
            let reply = if path.starts_with("/api/models/org/name/revision/main") {
                let names = ["config.json", "model.safetensors", "../../escape.json"];
                let files: Vec<_> = names.iter().map(|name| serde_json::json!({ "rfilename": name })).collect();
                small(&serde_json::json!({ "sha": COMMIT, "siblings": files }).to_string(), "")
            } else if path.starts_with("/api/models/org/secret/") {
                failure("401 Unauthorized")
            } else if file == "config.json" {
                // `printf '{}\n' | git hash-object --stdin`
                let reply = small("{}\n", "etag: \"0967ef424bce6791893e9a57bb952f80fd536e93\"\r\n");
                if request.starts_with("HEAD") { reply[..reply.len() - 3].to_vec() } else { reply }
            } else if file == "model.safetensors" {
                format!(
                    "HTTP/1.1 302 Found\r\nlocation: http://localhost:{}/storage\r\nx-linked-etag: \"{tag}\"\r\n\
                     x-linked-size: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                    stream.local_addr().unwrap().port(),
                    big.len()
                )
                .into_bytes()
            } else if path == "/storage" {
                let from = range.and_then(|range| range.trim_end_matches('-').parse::<usize>().ok()).unwrap_or(0);
                let head = if from > 0 {
                    format!(
                        "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {from}-{}/{}\r\n",
                        big.len() - 1,
                        big.len()
                    )
                } else {
                    "HTTP/1.1 200 OK\r\n".to_owned()
                };
                let mut reply =
                    format!("{head}content-length: {}\r\nconnection: close\r\n\r\n", big.len() - from).into_bytes();
                let end = if from == 0 { big.len() / 2 } else { big.len() };
                reply.extend_from_slice(&big[from..end]);
                reply
            } else {
                failure("404 Not Found")
            };
            let _ = stream.write_all(&reply);
        }
    });
    (endpoint, asked)
}

fn settings(endpoint: &str, cache: &Path, offline: bool) -> Settings {
    Settings { endpoint: endpoint.to_owned(), cache: cache.to_owned(), token: Some("secret".to_owned()), offline }
}

fn big() -> (Vec<u8>, String) {
    let bytes: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let tag = Sha256::digest(&bytes).iter().fold(String::new(), |tag, byte| format!("{tag}{byte:02x}"));
    (bytes, tag)
}

#[test]
fn a_model_comes_whole_through_a_cut_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, tag) = big();
    let (endpoint, asked) = serve(bytes.clone(), tag.clone());
    let reference = Reference::parse("hf:org/name").unwrap();
    let hub = Hub::new(settings(&endpoint, folder.path(), false)).unwrap();
    let model = hub.model(&reference).unwrap();
    assert_eq!(std::fs::read(model.join("model.safetensors")).unwrap(), bytes);
    assert_eq!(std::fs::read_to_string(model.join("config.json")).unwrap(), "{}\n");
    // huggingface_hub's layout.
    let repository = folder.path().join("models--org--name");
    assert_eq!(std::fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);
    assert!(repository.join("blobs").join(&tag).is_file());
    #[cfg(unix)]
    assert_eq!(
        std::fs::read_link(repository.join("snapshots").join(COMMIT).join("model.safetensors")).unwrap(),
        Path::new("../../blobs").join(&tag)
    );
    assert!(
        !folder.path().join("escape.json").exists() && !folder.path().parent().unwrap().join("escape.json").exists()
    );
    let notes = asked.lock().unwrap().clone();
    // It went on from the middle, and the storage never saw the token.
    assert!(
        notes.iter().any(|note| note.contains("/storage") && note.contains(&format!("{}-", bytes.len() / 2))),
        "{notes:?}"
    );
    assert!(
        notes.iter().all(|note| note.ends_with(if note.contains("/storage") { "false" } else { "true" })),
        "{notes:?}"
    );
    // Offline, the cache is enough, and the Hub is not asked.
    let offline = Hub::new(settings("http://127.0.0.1:9", folder.path(), true)).unwrap();
    assert_eq!(offline.model(&reference).unwrap(), model);
    let error = offline.model(&Reference::parse("hf:org/other").unwrap()).unwrap_err().to_string();
    assert!(error.contains("hf:org/other is not in the cache"), "{error}");
}

#[test]
fn wrong_contents_and_refusals_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, _) = big();
    let (endpoint, _) = serve(bytes, "0".repeat(64));
    let hub = Hub::new(settings(&endpoint, folder.path(), false)).unwrap();
    let error = |text: &str| hub.model(&Reference::parse(text).unwrap()).unwrap_err().to_string();
    let wrong = error("hf:org/name");
    assert!(wrong.contains("model.safetensors") && wrong.contains("hash"), "{wrong}");
    assert!(
        std::fs::read_dir(folder.path().join("models--org--name/blobs"))
            .unwrap()
            .flatten()
            .all(|blob| { !blob.file_name().to_string_lossy().starts_with("0000") })
    );
    let missing = error("hf:org/none");
    assert!(missing.contains("hf:org/none") && missing.contains("is not there"), "{missing}");
    let refused = error("hf:org/secret");
    assert!(refused.contains("HF_TOKEN"), "{refused}");
}
