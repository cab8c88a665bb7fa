use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn read(path: &str, options: &ReadOptions) -> Result<Vec<(u64, String)>, CorpusError> {
    read_documents(&[path.to_owned()], options)?.map(|item| item.map(|d| (d.offset, d.text))).collect()
}

fn texts(path: &str, split: Split) -> Vec<String> {
    let options = ReadOptions { split, ..ReadOptions::default() };
    read(path, &options).unwrap().into_iter().map(|(_, text)| text).collect()
}

fn error(path: &str) -> String {
    read(path, &ReadOptions::default()).unwrap_err().to_string()
}

#[test]
fn a_short_file_is_one_document() {
    let files = Files::new();
    let path = files.write("a.txt", "\u{FEFF}one\n\ntwo\n");
    assert_eq!(read(&path, &ReadOptions::default()).unwrap(), [(3, "one\n\ntwo\n".to_owned())]);
    assert_eq!(texts(&files.write("empty.txt", ""), Split::Auto), Vec::<String>::new());
    assert_eq!(texts(&files.write("blank.txt", " \n\n"), Split::Auto), Vec::<String>::new());
}

#[test]
fn every_rule_cuts_at_its_marks_with_true_offsets() {
    let files = Files::new();
    let content = "one\r\ntwo\n\n \nthree\nfour<|x|>five\n";
    let path = files.write("a.txt", content);
    assert_eq!(texts(&path, Split::File), [content]);
    assert_eq!(texts(&path, Split::Line), ["one", "two", "three", "four<|x|>five"]);
    assert_eq!(texts(&path, Split::Paragraph), ["one\r\ntwo\n\n ", "three\nfour<|x|>five"]);
    assert_eq!(texts(&path, Split::Separator("<|x|>".to_owned())), ["one\r\ntwo\n\n \nthree\nfour", "five"]);
    for split in [Split::Line, Split::Paragraph, Split::Separator("<|x|>".to_owned())] {
        for (offset, text) in read(&path, &ReadOptions { split, ..ReadOptions::default() }).unwrap() {
            assert!(content[offset as usize..].starts_with(&text), "{text:?} at {offset}");
        }
    }
    assert!(read(&path, &ReadOptions { split: Split::Separator(String::new()), ..ReadOptions::default() }).is_err());
}

#[test]
fn marks_are_found_by_looking() {
    let files = Files::new();
    let stories = files.write("stories.txt", "first\n<|endoftext|>\nsecond\n<|endoftext|>\n");
    assert_eq!(texts(&stories, Split::Auto), ["first", "second"]);
    let wiki =
        files.write("wiki.raw", " \n = One = \n \n text = more \n \n = = Part = = \n \n a\n \n = Two = \n \n b\n");
    let found = texts(&wiki, Split::Auto);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains(" = One = ") && found[0].contains("Part") && found[1].starts_with(" = Two = "));
}

#[test]
fn a_long_file_comes_in_pieces_that_join_to_it() {
    let files = Files::new();
    let paragraphs = (0..9000).map(|k| format!("paragraph {k} 水\nline\n\n")).collect::<Vec<_>>().concat();
    let line = "水x".repeat(100_000);
    for (name, content) in [("paragraphs.txt", paragraphs), ("line.txt", line)] {
        let path = files.write(name, &content);
        let pieces = read(&path, &ReadOptions::default()).unwrap();
        assert!(pieces.len() > 3 && pieces.iter().all(|(_, text)| text.len() <= PIECE));
        let joined: String = pieces.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(joined, content);
        if name == "paragraphs.txt" {
            assert!(pieces.iter().all(|(_, text)| text.starts_with("paragraph")));
        }
    }
}

#[test]
fn chunks_cut_nothing_whatever_their_border() {
    let files = Files::new();
    for shift in 0..4 {
        let content = format!("{}{}", "a".repeat(65_536 - shift), "水火".repeat(30_000));
        let path = files.write("a.txt", &content);
        assert_eq!(texts(&path, Split::File), [content.as_str()]);
        let separated = format!("{}<|endoftext|>{}", "a".repeat(65_536 - 3 * shift), "b".repeat(10));
        let path = files.write("b.txt", &separated);
        assert_eq!(texts(&path, Split::Separator("<|endoftext|>".to_owned())).len(), 2);
    }
}

#[test]
fn gzip_with_several_members_is_read_to_its_end() {
    let files = Files::new();
    let mut content = gzip(b"one\n");
    content.extend(gzip(b"two\n"));
    let path = files.write("a.txt.gz", &content);
    assert_eq!(texts(&path, Split::File), ["one\ntwo\n"]);
    let cut = files.write("cut.txt.gz", &content[..content.len() - 9]);
    let message = error(&cut);
    assert!(message.contains("cut.txt.gz") && message.contains("hint"), "{message}");
}

#[test]
fn json_lines_arrays_and_strings() {
    let files = Files::new();
    let lines = files.write("a.jsonl", "{\"text\":\"one\",\"n\":1}\n\n{\"n\":2,\"text\":\"two\"}");
    assert_eq!(read(&lines, &ReadOptions::default()).unwrap(), [(0, "one".to_owned()), (22, "two".to_owned())]);
    let array = files.write("b.json", "[\n {\"body\": \"a ] } \\\" b\", \"id\": 3},\n \"plain\" ]\n");
    assert_eq!(texts(&array, Split::Auto), ["a ] } \" b", "plain"]);
    let sequence = files.write("c.json", "{\"text\":\"x\"}\n{\"text\":\"y\"}\n");
    assert_eq!(texts(&sequence, Split::Auto), ["x", "y"]);
    let poems = files.write("d.json", "[{\"title\":\"t\",\"paragraphs\":[\"秦川\",\"函谷\"]}]");
    let options = ReadOptions { text_field: Some("paragraphs".to_owned()), ..ReadOptions::default() };
    assert_eq!(read(&poems, &options).unwrap()[0].1, "秦川\n函谷");
    assert_eq!(texts(&files.write("empty.json", "[]"), Split::Auto), Vec::<String>::new());
    assert_eq!(texts(&files.write("empty.jsonl", "\n\n"), Split::Auto), Vec::<String>::new());
}

#[test]
fn json_errors_name_line_and_fields() {
    let files = Files::new();
    let message = error(&files.write("a.jsonl", "{\"text\":\"one\"}\n{\"text\":\n"));
    assert!(message.contains("a.jsonl:2: not valid JSON"), "{message}");
    let message = error(&files.write("b.jsonl", "{\"title\":\"x\",\"body\":\"y\",\"n\":1}\n"));
    assert!(
        message.contains("b.jsonl:1") && message.contains("body (string), n (number), title (string)"),
        "{message}"
    );
    let options = ReadOptions { text_field: Some("boddy".to_owned()), ..ReadOptions::default() };
    let message = read(&files.path("b.jsonl"), &options).unwrap_err().to_string();
    assert!(message.contains("no field \"boddy\"") && message.contains("body (string)"), "{message}");
    for (content, line) in
        [("[{\"text\":\"a\"},\n", 2), ("[{\"text\":\"a\"}]\n{}", 2), ("{]}", 1), ("]", 1), ("[1]", 1)]
    {
        let message = error(&files.write("c.json", content));
        assert!(message.contains(&format!("c.json:{line}:")), "{content}: {message}");
    }
}

#[test]
fn bad_bytes_are_placed_exactly() {
    let files = Files::new();
    let half = files.write("half.txt", "abc水".as_bytes().split_last().unwrap().1);
    let message = error(&half);
    assert!(message.contains("half a UTF-8 character") && message.contains("byte 3"), "{message}");
    let mut content = "é".repeat(35_000).into_bytes();
    content[66_000] = 0xFF;
    let message = error(&files.write("damaged.txt", &content));
    assert!(message.contains("damaged.txt: not UTF-8 (byte 0xFF) at byte 66000"), "{message}");
    content[66_000] = 0;
    let message = error(&files.write("binary.txt", &content));
    assert!(message.contains("looks like a binary file") && message.contains("66000"), "{message}");
    assert_eq!(texts(&files.write("wide.txt", [0xFF, 0xFE, b'a', 0]), Split::Auto), ["a"]);
    let message = error(&files.write("compressed.txt", gzip(b"x")));
    assert!(message.contains(".gz"), "{message}");
    let message = error(&files.write("x.jsonl", b"{\"text\": \"a\"}\n\xC3"));
    assert!(message.contains("x.jsonl") && message.contains("byte 14"), "{message}");
}

#[test]
fn folders_and_globs_are_sorted_and_leave_out_what_they_must() {
    let files = Files::new();
    for name in ["d/b.txt", "d/a/z.md", "d/a/y.pdf", "d/.hidden/x.txt", "d/c.jsonl.gz"] {
        files.write(name, "");
    }
    let names = |list: &[PathBuf]| -> Vec<String> {
        list.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let list = find_files(&[files.path("d")]).unwrap();
    assert_eq!(
        (names(&list.files), names(&list.skipped)),
        (vec!["z.md".into(), "b.txt".into(), "c.jsonl.gz".into()], vec!["y.pdf".into()])
    );
    let list = find_files(&[files.path("d/**/*.txt")]).unwrap();
    assert_eq!(names(&list.files), ["x.txt", "b.txt"]);
    let list = find_files(&[files.path("d/**/*.[a-p]*")]).unwrap();
    assert_eq!(
        (names(&list.files), names(&list.skipped)),
        (vec!["z.md".into(), "c.jsonl.gz".into()], vec!["y.pdf".into()])
    );
    files.write("odd[1].txt", "x");
    assert_eq!(find_files(&[files.path("odd[1].txt")]).unwrap().files.len(), 1);
}

#[test]
fn wrong_paths_say_what_is_wrong() {
    let files = Files::new();
    files.write("d/y.pdf", "");
    for (name, expected) in [
        ("missing.txt", "cannot open"),
        ("*.txt", "matches no supported file"),
        ("d", "no supported file in this folder"),
        ("d/y.pdf", "not supported"),
        ("d/[", "not a valid pattern"),
    ] {
        let message = error(&files.path(name));
        assert!(message.contains(expected) && message.contains("hint"), "{name}: {message}");
    }
    assert!(find_files(&[]).is_err());
}

#[cfg(unix)]
#[test]
fn links_that_go_round_do_not_hang() {
    use std::os::unix::fs::symlink;
    let files = Files::new();
    files.write("d/a.txt", "x");
    files.write("d/e/b.txt", "x");
    files.write("elsewhere/c.txt", "x");
    symlink(files.path("d"), files.path("d/loop")).unwrap();
    symlink("../loop", files.path("d/e/round")).unwrap();
    symlink("self", files.path("d/self")).unwrap();
    symlink("self.txt", files.path("d/self.txt")).unwrap();
    symlink("missing.txt", files.path("d/dead.txt")).unwrap();
    let count = |pattern: &str| find_files(&[files.path(pattern)]).unwrap().files.len();
    assert_eq!(count("d"), 2);
    assert_eq!(count("d/**/*.txt"), 2);
    assert_eq!(count("d/**"), 2);
    assert_eq!(count("d/**/e/**/*.txt"), 1);
    assert_eq!(count("?/**/[ab].txt"), 2);
    // A step of a pattern goes through a link, as in a shell, and as often as there are steps.
    assert_eq!(count("d/*/*.txt"), 2);
    assert_eq!(count("d/loop/loop/loop/*.txt"), 1);
    assert!(error(&files.path("d/self.txt")).contains("cannot open"));

    // The cache of the Hub, DVC and git-annex keep contents elsewhere, and folders of links to them.
    symlink(files.path("elsewhere/c.txt"), files.path("d/link.txt")).unwrap();
    symlink(files.path("elsewhere"), files.path("d/folder")).unwrap();
    let found = find_files(&[files.path("d")]).unwrap().files;
    let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a.txt", "b.txt", "link.txt"]);
}

#[test]
fn a_record_without_end_is_refused_before_it_fills_memory() {
    let files = Files::new();
    let path = files.write("a.jsonl", format!("{{\"text\":\"{}", "x".repeat(LONGEST_RECORD + (1 << 20))));
    let message = error(&path);
    assert!(message.contains("a.jsonl:1: a record longer than 64 MiB"), "{message}");
}

/// The pairs of a source.
fn pairs(path: &str, records: Records) -> Result<Vec<(u64, String, String)>, CorpusError> {
    let options = ReadOptions { records, ..ReadOptions::default() };
    let documents = Documents::new(vec![path.into()], options);
    let pair = |document: Document| {
        let target = document.target.expect("a pair");
        (document.offset, document.text[..target - 1].to_owned(), document.text[target..].to_owned())
    };
    documents.map(|item| item.map(pair)).collect()
}

#[test]
fn lines_of_two_files_belong_together() {
    let files = Files::new();
    let english = files.write("captions.en", "A dog.\r\n\nTwo men\nno target\nlast");
    let german = files.write("captions.de.gz", gzip("Ein Hund.\nnichts\nZwei Männer\n\nletzte\n".as_bytes()));
    let records = |targets: &str| Records::PairFiles { targets: vec![targets.into()] };
    let found = pairs(&english, records(&german)).unwrap();
    let expected = [(0, "A dog.", "Ein Hund."), (9, "Two men", "Zwei Männer"), (27, "last", "letzte")];
    let expected = expected.map(|(offset, a, b)| (offset, a.to_owned(), b.to_owned()));
    assert_eq!(found, expected, "a blank line leaves its pair out and nothing else");
    for (lines, place) in [("eins\nzwei\n", "captions.en:3"), ("1\n2\n3\n4\n5\n6\n", "short.de:6")] {
        let short = files.write("short.de", lines);
        let error = pairs(&english, records(&short)).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains("no line of"), "{error}");
    }
    let error = pairs(&english, Records::PairFiles { targets: Vec::new() }).unwrap_err().to_string();
    assert!(error.contains("no file of targets"), "{error}");
}

#[test]
fn columns_and_fields_are_pairs() {
    let files = Files::new();
    let records = |input: &str, target: &str| Records::PairFields { input: input.into(), target: target.into() };
    let text = files.write("sentences.txt", "Hi.\t嗨。\tnote\nRun!\t跑！\n\nonly one\n");
    let error = pairs(&text, records("1", "2")).unwrap_err().to_string();
    assert!(error.contains("sentences.txt:4") && error.contains("1 columns where at least 2"), "{error}");
    let text = files.write("sentences.txt", "Hi.\t嗨。\tnote\nRun!\t跑！\n");
    assert_eq!(pairs(&text, records("2", "1")).unwrap()[1], (16, "跑！".to_owned(), "Run!".to_owned()));
    for name in ["0", "english"] {
        let error = pairs(&text, records(name, "2")).unwrap_err().to_string();
        assert!(error.contains("by their number"), "{error}");
    }
    let lines =
        files.write("d.jsonl", "{\"a\": \"x\", \"b\": [\"y\", \"z\"]}\n{\"a\": \"\", \"b\": \"w\"}\n{\"a\": \"q\"}\n");
    let error = pairs(&lines, records("a", "b")).unwrap_err().to_string();
    assert!(error.contains("d.jsonl:3") && error.contains("no field \"b\""), "{error}");
    let array = files.write("d.json", "[{\"a\": \"x\", \"b\": [\"y\", \"z\"]}, {\"a\": \" \", \"b\": \"w\"}]");
    assert_eq!(pairs(&array, records("a", "b")).unwrap(), [(1, "x".to_owned(), "y\nz".to_owned())]);
}

#[test]
fn conversations_are_read_in_every_form() {
    let files = Files::new();
    let text = r#"[
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"instruction": "q", "input": "more", "output": "a"},
        {"instruction": "q", "input": "", "output": "a", "system": "s", "history": [["q0", "a0"]]},
        {"prompt": "q", "completion": "a"},
        {"instruction": "q", "output": ""}
    ]"#;
    let path = files.write("c.json", text);
    let options = ReadOptions { records: Records::Conversations, ..ReadOptions::default() };
    let documents: Vec<Document> =
        Documents::new(vec![path.into()], options.clone()).collect::<Result<_, _>>().unwrap();
    let said = |document: &Document| -> String {
        document.turns.iter().flat_map(|turn| [&turn.role[..1], ":", &turn.content, ";"]).collect()
    };
    let expected = ["s:s;u:q;a:a;", "u:q;a:a;", "u:q\n\nmore;a:a;", "s:s;u:q0;a:a0;u:q;a:a;", "u:q;a:a;", ""];
    assert_eq!(documents.iter().map(said).collect::<Vec<_>>(), expected);
    assert_eq!(documents[0].text, "s\nq\na");
    for (text, expected) in [
        (r#"[{"text": "x"}]"#, "no conversation"),
        (r#"[{"messages": [{"content": "x"}]}]"#, "message 0 of \"messages\" has no \"role\""),
        (r#"[{"messages": [{"role": "user", "content": 3}]}]"#, "has no text in \"content\""),
        (r#"[{"messages": "x"}]"#, "is not a list"),
        (r#"["x"]"#, "instead of an object"),
    ] {
        let path = files.write("bad.json", text);
        let error = Documents::new(vec![path.into()], options.clone()).next().unwrap().unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("bad.json"), "{error}");
    }
    let path = files.write("plain.txt", "x");
    let error = Documents::new(vec![path.into()], options).next().unwrap().unwrap_err().to_string();
    assert!(error.contains("read from records"), "{error}");
}
