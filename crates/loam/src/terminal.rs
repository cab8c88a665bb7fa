//! What goes to the terminal: results to standard output, words to standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// How this process talks.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    quiet: bool,
    json: bool,
    color: bool,
    colored_results: bool,
    live: bool,
}

impl Terminal {
    /// Colors and bars only where somebody looks at a terminal, and never against `NO_COLOR`.
    pub fn new(quiet: bool, json: bool) -> Self {
        let live = io::stderr().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { quiet, json, color: live && wanted, colored_results: io::stdout().is_terminal() && wanted, live }
    }

    /// Whether results are wanted as JSON.
    pub fn json(self) -> bool {
        self.json
    }

    /// Whether only results and errors are wanted.
    pub fn quiet(self) -> bool {
        self.quiet
    }

    /// Whether standard error is a terminal that can be redrawn.
    pub fn live(self) -> bool {
        self.live
    }

    /// Whether results may be in color.
    pub fn colored_results(self) -> bool {
        self.colored_results
    }

    /// A result, on standard output.
    pub fn result(self, line: impl Display) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }

    /// Part of a result, at once.
    pub fn part(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// A remark.
    pub fn say(self, line: impl Display) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// A heading among remarks.
    pub fn heading(self, line: impl Display) {
        if self.color { self.say(format_args!("\x1b[1m{line}\x1b[0m")) } else { self.say(line) }
    }

    /// A remark of little weight.
    pub fn dim(self, line: impl Display) {
        if self.color { self.say(format_args!("\x1b[2m{line}\x1b[0m")) } else { self.say(line) }
    }

    /// Something that is not as it should be.
    pub fn warning(self, line: impl Display) {
        let mark = if self.color { "\x1b[33;1mwarning\x1b[0m" } else { "warning" };
        let _ = writeln!(io::stderr(), "{mark}: {line}");
    }

    /// Why the command failed.
    pub fn error(self, line: impl Display) {
        let mark = if self.color { "\x1b[31;1merror\x1b[0m" } else { "error" };
        let _ = writeln!(io::stderr(), "{mark}: {line}");
    }
}

/// Whether the reader of standard output went away, as `head` does: no failure of ours.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error with its causes, each said once: many errors repeat their cause in their own words.
pub fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if !words.contains(&cause) {
            if !words.is_empty() {
                words.push_str(": ");
            }
            words.push_str(&cause);
        }
    }
    words
}

/// 1234567 as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// 1 and `document` as `1 document`, 2 as `2 documents`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// 13_904_256 as `13.9 M`.
pub fn short(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.2} G", n / 1e9),
        n if n >= 1e6 => format!("{:.2} M", n / 1e6),
        n if n >= 1e4 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

/// Seconds as `1 h 02 min`, `3 min 20 s` or `12 s`.
pub fn duration(seconds: f64) -> String {
    let total = seconds.max(0.0).round() as u64;
    match (total / 3600, total / 60 % 60, total % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!((counted(1, "file"), counted(2000, "file")), ("1 file".to_owned(), "2,000 files".to_owned()));
        assert_eq!(short(13_904_256.0), "13.90 M");
        assert_eq!(duration(59.6), "1 min 00 s");
        assert_eq!(duration(7325.0), "2 h 02 min");
    }

    #[test]
    fn causes_are_said_once() {
        let inner = std::io::Error::other("disk on fire");
        let error = anyhow::Error::new(inner).context("a.txt: disk on fire");
        assert_eq!(in_words(&error), "a.txt: disk on fire");
    }
}
