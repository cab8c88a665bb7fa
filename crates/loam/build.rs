//! Embeds the names and versions of this project's dependencies, which the demonstration trains on.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let lock = Path::new(&manifest).join("../../Cargo.lock");
    println!("cargo:rerun-if-changed={}", lock.display());
    println!("cargo:rerun-if-changed=build.rs");
    let text = fs::read_to_string(&lock).unwrap_or_default();
    let mut crates = String::new();
    for package in text.split("[[package]]").skip(1) {
        let value = |key: &str| {
            package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'))
        };
        // A package without a source is one of this workspace.
        if let (Some(name), Some(version), Some(_)) = (value("name"), value("version"), value("source")) {
            writeln!(crates, "{name} {version}").expect("writing to a string");
        }
    }
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("crates.txt"), crates).expect("the output folder can be written");
    println!("cargo:rustc-env=LOAM_TARGET={}", env::var("TARGET").unwrap_or_default());
}
