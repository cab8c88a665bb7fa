//! Running the program as its users do, and looking at what it says.
#![allow(dead_code, reason = "every test file uses some of it")]

use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program with these arguments, in a folder.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loam"));
    command.args(arguments).current_dir(folder).env("NO_COLOR", "1").env("HF_HOME", folder.join("hf"));
    command
}

/// Runs it without input.
pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).stdin(Stdio::null()).output().expect("the program starts")
}

/// Runs it with this on standard input.
pub fn given(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let pipes = command(folder, arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = pipes.expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(input).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// That it has succeeded.
pub fn done(output: &Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// The objects of a success with `--json`.
pub fn objects(output: &Output) -> Vec<Value> {
    done(output);
    lines(output)
}

/// The objects that were printed, whatever the exit code.
pub fn lines(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// That it has failed with this exit code and these words.
pub fn refused(output: &Output, code: i32, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "{said} ({words:?})");
    assert!(!said.contains("panicked"), "{said}");
}
