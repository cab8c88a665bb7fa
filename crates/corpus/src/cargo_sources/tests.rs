use super::*;

fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// A Cargo home with 30 crates that share a license.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for number in 0..30 {
        let root = home.path().join(format!("registry/src/some-index/crate{number}-1.0.{number}"));
        let docs = format!("//! Crate number {number} does a thing that is worth a long sentence of documentation.\n");
        let code =
            format!("{docs}\n// a remark\npub fn answer_{number}() -> u32 {{\n    {number} /* the answer */\n}}\n")
                .repeat(4);
        write(&root, "src/lib.rs", &code);
        write(&root, "src/monster.rs", format!("const X: &str = \"{}\";", "x".repeat(3000)));
        write(&root, "src/table.rs", "0x12, 34, 56, 78, 90,\n".repeat(50));
        write(&root, "src/latin.rs", [&[0xE9; 200][..], b"fn f() {}"].concat());
        write(
            &root,
            "README.md",
            format!("# Crate {number}\n\n{}", "It is a crate among crates, and this is about it. ".repeat(4)),
        );
        write(
            &root,
            "CHANGELOG.md",
            format!("## 1.0.{number}\n\n{}", "- something changed in this version, for the better\n".repeat(4)),
        );
        write(&root, "LICENSE-MIT", "Permission is hereby granted, free of charge, to any person. ".repeat(10));
    }
    home
}

fn crates() -> Vec<(String, String)> {
    (0..40).map(|number| (format!("crate{number}"), format!("1.0.{number}"))).collect()
}

fn records(path: &str) -> Vec<serde_json::Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn five_sources_and_two_domains_that_share_no_crate() {
    let home = home();
    let found = CargoSources::find(crates(), Some(home.path())).unwrap();
    assert_eq!(found.len(), 30);
    let out = home.path().join("corpus");
    let corpus = found.write(&out, &CargoCaps::default()).unwrap();
    let names: Vec<&str> = corpus.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["code", "docs", "readmes", "changelogs", "licenses"]);
    assert_eq!(corpus.held_out.iter().map(|domain| domain.name.as_str()).collect::<Vec<_>>(), ["prose", "code"]);
    assert_eq!(corpus.crates_missing, 10);
    assert_eq!(corpus.crates_used.len() + corpus.crates_held_out.len(), 30);
    for source in &corpus.sources {
        for record in records(&source.paths[0]) {
            let label = record["crate"].as_str().unwrap();
            assert!(corpus.crates_used.iter().any(|used| used == label));
        }
    }
    let code = records(&corpus.sources[0].paths[0]);
    assert_eq!(code.len(), corpus.crates_used.len(), "monsters, tables and Latin-1 are left out");
    assert!(code.iter().all(|record| {
        let text = record["text"].as_str().unwrap();
        record["path"] == "src/lib.rs" && text.contains("pub fn") && !text.contains("remark") && !text.contains("//!")
    }));
    let docs = records(&corpus.sources[1].paths[0]);
    assert!(docs.iter().all(|record| record["text"].as_str().unwrap().starts_with("Crate number")));
    assert_eq!(records(&corpus.sources[4].paths[0]).len(), corpus.crates_used.len(), "every copy is kept");
}

#[test]
fn a_cap_keeps_many_crates_and_is_kept() {
    let home = home();
    let found = CargoSources::find(crates(), Some(home.path())).unwrap();
    let caps = CargoCaps { readmes: 1000, ..CargoCaps::default() };
    let corpus = found.write(&home.path().join("corpus"), &caps).unwrap();
    assert!(corpus.bytes["readmes"] <= 1000);
    let again = found.write(&home.path().join("again"), &caps).unwrap();
    let (one, two) = (&corpus.sources[2].paths[0], &again.sources[2].paths[0]);
    assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
}

#[test]
fn nothing_unpacked_says_what_to_do_instead() {
    let home = tempfile::tempdir().unwrap();
    let error = CargoSources::find([("serde", "1.0.0"), ("../..", "x")], Some(home.path())).unwrap_err().to_string();
    assert!(error.contains("registry") && error.contains("loam train") && error.contains("CARGO_HOME"), "{error}");
}
