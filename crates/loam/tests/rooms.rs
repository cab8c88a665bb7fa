//! Data flows one way: a crate imports only crates that stand before it.

use serde_json::Value;
use std::process::Command;

/// From the first crate to the last, as `ARCHITECTURE.md` has them.
const ORDER: [&str; 12] = [
    "loam-hub",
    "loam-kernels",
    "loam-gguf",
    "loam-corpus",
    "loam-cluster",
    "loam-nn",
    "loam-models",
    "loam-train",
    "loam-tasks",
    "loam-influence",
    "loam-report",
    "loam",
];

#[test]
fn crates_import_only_what_stands_before_them() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir("../..")
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let place = |name: &str| ORDER.iter().position(|room| *room == name);
    let packages = metadata["packages"].as_array().expect("packages");
    assert_eq!(packages.len(), ORDER.len(), "a new crate needs its place in ORDER and a reason in ARCHITECTURE.md");
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let own = place(name).unwrap_or_else(|| panic!("{name} has no place in ORDER"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let imported = dependency["name"].as_str().expect("a name");
            if let Some(other) = place(imported) {
                assert!(other < own, "{name} imports {imported}, which stands after it");
            }
        }
        // Burn and models stay out of the rooms that must not know them.
        let forbidden: &[&str] = match name {
            "loam-kernels" | "loam-gguf" | "loam-corpus" | "loam-cluster" => &["burn"],
            _ => &[],
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let imported = dependency["name"].as_str().expect("a name");
            assert!(!forbidden.contains(&imported), "{name} must not import {imported}");
        }
    }
}
