//! Every kind of file as documents: what we write ourselves here, and the samples of real archives where they are at hand.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, LargeStringArray, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use loam_corpus::extract::Markup;
use loam_corpus::{Bytes, CorpusError, Damage, Documents, Note, ReadOptions, Records, find_files, read_documents};
use parquet::arrow::ArrowWriter;

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn read_with(path: &str, options: &ReadOptions) -> Result<Vec<(u64, String)>, CorpusError> {
    let documents = read_documents(&[path.to_owned()], options)?;
    documents.map(|document| document.map(|document| (document.offset, document.text))).collect()
}

fn texts(path: &str) -> Vec<String> {
    read_with(path, &ReadOptions::default()).unwrap().into_iter().map(|(_, text)| text).collect()
}

fn refused(path: &str, options: &ReadOptions, words: &[&str]) {
    let message = read_with(path, options).unwrap_err().to_string();
    assert!(words.iter().all(|word| message.contains(word)) && message.contains("hint"), "{message}");
}

fn field(name: &str) -> ReadOptions {
    ReadOptions { text_field: Some(name.to_owned()), ..ReadOptions::default() }
}

fn pair(input: &str, target: &str) -> ReadOptions {
    let records = Records::PairFields { input: input.to_owned(), target: target.to_owned() };
    ReadOptions { records, ..ReadOptions::default() }
}

#[test]
fn tables_have_names_or_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let named = write(at, "named.csv", "label,review\n1,\"good, very\ngood\"\n0,bad\n,\n1,\"said \"\"no\"\"\"\n");
    let rows = read_with(&named, &ReadOptions::default()).unwrap();
    let found: Vec<&str> = rows.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(found, ["good, very\ngood", "bad", "", "said \"no\""]);
    assert_eq!(rows[1].0, 33, "the offset of a row");
    assert_eq!(texts(&write(at, "text.csv", "id,text,other\n1,a,b\n")), ["a"]);
    let bare = write(at, "bare.csv", "\"3\",\"A title\",\"What it says, at length\"\n\"4\",\"Two\",\"More\"\n");
    assert_eq!(read_with(&bare, &field("3")).unwrap()[1].1, "More");
    assert_eq!(read_with(&bare, &pair("2", "3")).unwrap()[0].1, "A title\nWhat it says, at length");
    refused(&bare, &ReadOptions::default(), &["bare.csv:1", "2 (string), 3 (string)", "text_field"]);
    let tabs = write(at, "tabs.tsv", "text\tlabel\nit's 5\" wide\t1\n\"open\t0\n");
    assert_eq!(texts(&tabs), ["it's 5\" wide", "\"open"]);
    assert_eq!(
        texts(&write(at, "one.tsv", "plain words of a file without a name, quite long, and then some more\n")).len(),
        1
    );
    refused(&write(at, "ragged.csv", "a,text\n1,x\n1,2,3\n"), &ReadOptions::default(), &["ragged.csv:3", "3 columns"]);
    refused(&named, &field("body"), &["no field \"body\"", "review (string)"]);
    assert!(texts(&write(at, "empty.csv", "")).is_empty());
    let both = write(at, "both.csv", "en,zh\nhello,你好\n,空\n");
    assert_eq!(read_with(&both, &pair("en", "zh")).unwrap(), [(6, "hello\n你好".to_owned())]);
    let gb = encoding_rs::GB18030.encode("标题,正文\n一,此开卷第一回也。作者自云\n").0.into_owned();
    assert_eq!(read_with(&write(at, "gb.csv", gb), &field("正文")).unwrap()[0].1, "此开卷第一回也。作者自云");
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn parquet(folder: &Path, name: &str, batch: &RecordBatch) -> String {
    let path = folder.join(name);
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn columns_of_parquet_and_arrow() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
    let words: ArrayRef = Arc::new((0..1000).map(|n| (n != 3).then(|| format!("text {n}"))).collect::<StringArray>());
    let simple = batch(vec![("id", numbers.clone()), ("body", words.clone())]);
    let rows = read_with(&parquet(at, "a.parquet", &simple), &ReadOptions::default()).unwrap();
    assert_eq!((rows.len(), &rows[999], rows[3].1.as_str()), (1000, &(999, "text 999".to_owned()), ""));
    let large: ArrayRef = Arc::new(LargeStringArray::from_iter_values((0..1000).map(|n| format!("large {n}"))));
    let two = batch(vec![("title", words.clone()), ("text", large), ("id", numbers.clone())]);
    let path = parquet(at, "b.parquet", &two);
    assert_eq!(texts(&path)[1], "large 1");
    assert_eq!(read_with(&path, &field("title")).unwrap()[1].1, "text 1");
    assert_eq!(read_with(&path, &pair("title", "text")).unwrap().len(), 999);
    let options = ReadOptions { metadata: true, ..ReadOptions::default() };
    let document = read_documents(std::slice::from_ref(&path), &options).unwrap().next().unwrap().unwrap();
    assert_eq!(serde_json::to_string(&document.metadata).unwrap(), r#"{"id":0,"title":"text 0"}"#);
    refused(&path, &field("body"), &["b.parquet", "no column \"body\"", "title (Utf8), text (Utf8)"]);
    // A folder whose files are not of one kind says which.
    let other = batch(vec![("text", numbers), ("title", words)]);
    refused(&parquet(at, "c.parquet", &other), &field("text"), &["c.parquet", "is a number"]);
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1)])]));
    refused(
        &parquet(at, "d.parquet", &batch(vec![("n", lists)])),
        &ReadOptions::default(),
        &["d.parquet", "no column"],
    );

    let stream = at.join("s.arrow");
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(File::create(&stream).unwrap(), &two.schema()).unwrap();
    writer.write(&two).unwrap();
    writer.finish().unwrap();
    let file = at.join("f.arrow");
    let mut writer = arrow::ipc::writer::FileWriter::try_new(File::create(&file).unwrap(), &two.schema()).unwrap();
    writer.write(&two).unwrap();
    writer.finish().unwrap();
    for path in [&stream, &file] {
        assert_eq!(texts(path.to_str().unwrap())[7], "large 7", "{}", path.display());
    }
    for whole in [&path, stream.to_str().unwrap(), file.to_str().unwrap()] {
        let bytes = std::fs::read(whole).unwrap();
        let end = Path::new(whole).extension().unwrap().to_str().unwrap();
        for cut in [0, 3, 12, bytes.len() / 2, bytes.len() - 5] {
            let cut = write(at, &format!("cut.{end}"), &bytes[..cut]);
            let _ = read_with(&cut, &ReadOptions::default());
        }
        for place in (0..bytes.len()).step_by(bytes.len() / 60 + 1) {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x55;
            let _ = read_with(&write(at, &format!("bad.{end}"), damaged), &ReadOptions::default());
        }
    }
}

#[test]
fn conversations_of_parquet() {
    let folder = tempfile::tempdir().unwrap();
    let column = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let alpaca = batch(vec![("instruction", column("Say hi.")), ("input", column("")), ("output", column("Hi."))]);
    let path = parquet(folder.path(), "a.parquet", &alpaca);
    let options = ReadOptions { records: Records::Conversations, ..ReadOptions::default() };
    let document = read_documents(&[path], &options).unwrap().next().unwrap().unwrap();
    assert_eq!(document.turns.len(), 2);
    assert_eq!(document.text, "Say hi.\nHi.");
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn record(kind: &str, content_type: &str, block: &str) -> Vec<u8> {
    format!(
        "WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: https://example.org/{}\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n\r\n{block}\r\n\r\n",
        block.len(),
        block.len()
    )
    .into_bytes()
}

fn archive(path: &str) -> (Vec<(u64, String)>, Vec<Note>) {
    let options = ReadOptions { metadata: true, marked_up: true, ..ReadOptions::default() };
    let mut documents = Documents::new(find_files(&[path.to_owned()]).unwrap().files, options);
    let found = documents.by_ref().map(|document| document.map(|document| (document.offset, document.text)));
    let found = found.collect::<Result<_, _>>().unwrap();
    (found, documents.notes().take().0)
}

#[test]
fn archives_are_read_past_what_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let parts = [
        record("warcinfo", "application/warc-fields", "software: x"),
        record("conversion", "text/plain", "one text"),
        record("request", "application/http; msgtype=request", "GET / HTTP/1.1\r\n\r\n"),
        record("conversion", "text/plain", "two 文"),
        record("conversion", "text/plain", "three"),
    ];
    let lengths: Vec<usize> = parts.iter().map(Vec::len).collect();
    let second = (lengths[0]) as u64;
    let (found, notes) = archive(&write(at, "whole.wet", parts.concat()));
    assert_eq!(found.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["one text", "two 文", "three"]);
    assert_eq!((found[0].0, notes.len()), (second, 0));
    // Every record in a member of its own, and all in one.
    let members: Vec<Vec<u8>> = parts.iter().map(|part| gzip(part)).collect();
    assert_eq!(archive(&write(at, "members.wet.gz", members.concat())).0.len(), 3);
    assert_eq!(archive(&write(at, "one.warc.gz", gzip(&parts.concat()))).0.len(), 3);
    assert_eq!(archive(&write(at, "zst.warc.zst", zstd::encode_all(&parts.concat()[..], 1).unwrap())).0.len(), 3);

    // A member that is damaged costs one record.
    let mut damaged = members.clone();
    let middle = damaged[3].len() / 2;
    damaged[3][middle..].fill(0);
    let (found, notes) = archive(&write(at, "damaged.wet.gz", damaged.concat()));
    assert_eq!(found.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["one text", "three"]);
    let place = members[..3].iter().map(Vec::len).sum::<usize>() as u64;
    assert_eq!((notes.len(), notes[0].offset), (1, place), "{notes:?}");
    // A length that lies costs the records that it runs over.
    let lying = String::from_utf8(parts.concat()).unwrap().replacen("Content-Length: 8", "Content-Length: 9999999", 1);
    let (found, notes) = archive(&write(at, "lying.wet", lying));
    assert!(found.is_empty() && notes.len() == 1 && notes[0].message.contains("ends after"), "{found:?} {notes:?}");
    let short = String::from_utf8(parts.concat()).unwrap().replacen("Content-Length: 8", "Content-Length: 3", 1);
    let (found, notes) = archive(&write(at, "short.wet", short));
    assert_eq!((found.len(), found[0].1.as_str(), notes.len()), (3, "one", 1), "{notes:?}");
    // One that was cut is read up to there.
    let whole = parts.concat();
    let (found, notes) = archive(&write(at, "cut.wet", &whole[..whole.len() - 8]));
    assert_eq!((found.len(), notes.len()), (2, 1));
    let (found, notes) = archive(&write(at, "nothing.warc", "just text\n".repeat(100)));
    assert_eq!((found.len(), notes.len()), (0, 1));
    for seed in 0..200_usize {
        let mut bytes = if seed % 2 == 0 { members.concat() } else { whole.clone() };
        let place = seed * 7919 % bytes.len();
        bytes[place] ^= 1 << (seed % 8);
        let name = if seed % 2 == 0 { "m.warc.gz" } else { "m.warc" };
        archive(&write(at, name, bytes));
    }
}

#[test]
fn pages_and_dumps() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let sentence = "The quick brown fox jumps over the lazy dog and runs far into the deep green wood. ".repeat(4);
    let page = format!(
        "<html><head><meta charset=gbk></head><body><nav><a href=/>Home</a></nav><article><p>{sentence}</p><p>你好。{sentence}\
         </p></article></body></html>"
    );
    let text = &texts(&write(at, "page.html", encoding_rs::GBK.encode(&page).0))[0];
    assert!(text.contains("你好") && text.contains("quick brown") && !text.contains("Home"), "{text}");
    let dump = "<mediawiki xmlns=\"http://www.mediawiki.org/xml/export-0.10/\"><siteinfo><sitename>X</sitename></siteinfo>\
                <page><title>A</title><ns>0</ns><id>1</id><revision><id>9</id><text \
                xml:space=\"preserve\">'''A''' is [[b|c]] &amp;amp; &lt;ref&gt;x&lt;/ref&gt;d.</text></revision></page>\
                <page><title>Talk:A</title><ns>1</ns><id>2</id><revision><text>talk</text></revision></page>\
                <page><title>B</title><ns>0</ns><id>3</id><redirect title=\"A\"/><revision><text>#REDIRECT \
                [[A]]</text></revision></page></mediawiki>";
    let path = write(at, "dump.xml", dump);
    assert_eq!(texts(&path), ["A is c & d."]);
    let options = ReadOptions { metadata: true, marked_up: true, ..ReadOptions::default() };
    let article = read_documents(&[path], &options).unwrap().next().unwrap().unwrap();
    assert_eq!((article.markup, article.metadata["title"].as_str()), (Markup::Wiki, Some("A")));
    assert!(article.text.starts_with("'''A'''"));
    refused(&write(at, "other.xml", "<rss><page/></rss>"), &ReadOptions::default(), &["other.xml", "<rss>"]);
    refused(&write(at, "cut.xml", &dump[..400]), &ReadOptions::default(), &["cut.xml", "at byte"]);
    refused(&write(at, "none.xml", ""), &ReadOptions::default(), &["none.xml"]);
}

#[test]
fn damage_is_refused_or_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = "红楼梦 and so on\n".repeat(20).into_bytes();
    bytes[309] = 0xFF;
    let path = write(folder.path(), "a.txt", &bytes);
    refused(&path, &ReadOptions::default(), &["not UTF-8", "--damage replace"]);
    let options =
        ReadOptions { bytes: Bytes { damage: Damage::Replace, ..Bytes::default() }, ..ReadOptions::default() };
    let mut documents = Documents::new(vec![PathBuf::from(&path)], options.clone());
    let text = documents.by_ref().next().unwrap().unwrap().text;
    assert!(documents.next().is_none());
    assert_eq!(text.matches('\u{FFFD}').count(), 1);
    let (notes, more) = documents.notes().take();
    assert_eq!((notes.len(), more, notes[0].offset), (1, 0, 309), "{notes:?}");
    assert!(notes[0].to_string().contains("a.txt, byte 309: 1 bytes"), "{}", notes[0]);
    // At the end of a file, and of a chunk.
    let cut = write(folder.path(), "cut.txt", &"ab红".as_bytes()[..4]);
    assert_eq!(read_with(&cut, &options).unwrap()[0].1, "ab\u{FFFD}");
    let mut long = "红".repeat(100_000).into_bytes();
    long[150_000] = b'a';
    let text = &read_with(&write(folder.path(), "long.txt", long), &options).unwrap()[0].1;
    assert!(text.chars().filter(|c| *c == '\u{FFFD}').count() <= 2);
}

/// The samples' folder, where it is at hand.
fn samples() -> Option<PathBuf> {
    let beside = PathBuf::from("../../../shared");
    let folder = std::env::var_os("LOAM_TEST_DATA").map_or(beside, PathBuf::from);
    let folder = [folder.join("data/web"), folder.join("web")].into_iter().find(|folder| folder.is_dir());
    if folder.is_none() {
        println!("skipped: no samples of web archives (LOAM_TEST_DATA)");
    }
    folder
}

#[test]
fn real_archives_and_dumps() {
    let Some(folder) = samples() else { return };
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (found, notes) = archive(&at("example.warc.gz"));
    assert!(found.iter().all(|(_, text)| text.contains("Example Domain")), "{found:?}");
    assert_eq!((found.is_empty(), notes.len()), (false, 0), "{notes:?}");
    let (found, notes) = archive(&at("example-bad-non-chunked.warc.gz"));
    assert!(!found.is_empty() && found[0].1.contains("<html"), "{found:?} {notes:?}");
    let (_, notes) = archive(&at("example-trunc.warc"));
    assert_eq!(notes.len(), 1, "{notes:?}");
    let (found, notes) = archive(&at("whirlwind.warc.gz"));
    assert_eq!((found.len(), notes.len()), (1, 0), "{notes:?}");
    let (found, notes) = archive(&at("whirlwind.warc.wet.gz"));
    assert_eq!((found.len(), notes.len()), (1, 0), "{notes:?}");
    let articles = texts(&at("enwiki-shortened.xml.bz2"));
    assert!(articles.len() > 50, "{}", articles.len());
    let odd = |text: &&String| text.contains("{{") || text.contains("[[") || text.contains("<ref");
    let left = articles.iter().filter(odd).count();
    assert!(left * 20 < articles.len(), "markup is left in {left} of {} articles", articles.len());
}
