//! C4's rules: lines that are no sentences go, and pages of which too little is left.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::{memchr, memrchr};

use super::characters::stripped;
use super::lines::any_lines;
use super::rules::{Measure, Rule};
use super::words::{Scratch, Segmentation, Word, has_longer, sentences, spaced, split};

const POLICIES: [&str; 6] =
    ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"];

struct Finders {
    lorem_ipsum: Finder<'static>,
    javascript: Finder<'static>,
    policies: [Finder<'static>; 6],
    /// One of these is in every policy.
    policy: [Finder<'static>; 3],
}

static FINDERS: LazyLock<Finders> = LazyLock::new(|| Finders {
    lorem_ipsum: Finder::new("lorem ipsum"),
    javascript: Finder::new("javascript"),
    policies: POLICIES.map(Finder::new),
    policy: ["cookie", "terms of use", "privacy policy"].map(Finder::new),
});

/// Which rules are on, and their limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) long_word: Option<f64>,
    pub(super) citations: bool,
    pub(super) terminal_punctuation: bool,
    pub(super) line_words: Option<f64>,
    pub(super) javascript: bool,
    pub(super) policy: bool,
    /// Which of the rules that drop documents are on, for the first of them to be told.
    pub(super) lorem_ipsum: bool,
    pub(super) curly_bracket: bool,
    /// Sentences are judged instead of lines.
    pub(super) by_sentence: bool,
    /// Chinese text: lines are asked for its punctuation, and for words that no spaces part.
    pub(super) chinese: bool,
}

/// What is left of a text.
pub(super) struct Kept<'t> {
    pub(super) text: Cow<'t, str>,
    pub(super) words: usize,
    /// Of the rules that drop a document, the first that a line broke.
    pub(super) first: Option<Rule>,
}

/// Buffers, used for one document after another.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    lowered: String,
    kept: String,
    words: Vec<Word>,
}

/// The bytes of a citation at the start of a text: `[12]`, `[]`, `[edit]`, `[citation needed]`.
fn citation(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('[')?;
    for words in ["edit]", "citation needed]"] {
        if inner.starts_with(words) {
            return Some(1 + words.len());
        }
    }
    let digits = inner.find(|character: char| !character.is_ascii_digit() && !is_other_digit(character))?;
    inner[digits..].starts_with(']').then_some(digits + 2)
}

/// A decimal digit of another script.
fn is_other_digit(character: char) -> bool {
    // Full-width digits are the only ones that stand in citations of pages.
    matches!(character, '\u{FF10}'..='\u{FF19}' | '\u{660}'..='\u{669}' | '\u{6F0}'..='\u{6F9}' | '\u{966}'..='\u{96F}')
}

/// A line without its citations.
fn uncited(line: &str) -> Cow<'_, str> {
    let mut clean: Option<String> = None;
    let (mut from, mut copied) = (0, 0);
    while let Some(found) = memchr(b'[', &line.as_bytes()[from..]) {
        let at = from + found;
        match citation(&line[at..]) {
            Some(length) => {
                clean.get_or_insert_default().push_str(&line[copied..at]);
                from = at + length;
                copied = from;
            }
            None => from = at + 1,
        }
    }
    match clean {
        Some(mut clean) => {
            clean.push_str(&line[copied..]);
            Cow::Owned(clean)
        }
        None => Cow::Borrowed(line),
    }
}

fn ends_a_sentence(line: &str, chinese: bool) -> bool {
    if line.ends_with("...") {
        return false;
    }
    line.ends_with(['.', '?', '!', '"', '\'']) || (chinese && line.ends_with(['。', '！', '？', '”', '’', '」', '』']))
}

/// Judges line by line, given the words of the text.
pub(super) fn apply<'t>(
    text: &'t str,
    words: &[Word],
    segmentation: Segmentation,
    settings: &Settings,
    buffers: &mut Buffers,
    scratch: &mut Scratch,
    values: &mut Vec<(Measure, f64)>,
) -> Kept<'t> {
    let Buffers { lowered, kept, words: own_words } = buffers;
    let finders = &*FINDERS;
    lowered.clear();
    lowered.push_str(text);
    lowered.make_ascii_lowercase();
    let has = |finder: &Finder| finder.find(lowered.as_bytes()).is_some();
    let cited = memrchr(b'[', text.as_bytes()).is_some();
    let (lorem_ipsum, javascript) = (has(&finders.lorem_ipsum), has(&finders.javascript));
    let policy = finders.policy.iter().any(has);
    let curly = memchr(b'{', text.as_bytes()).is_some();

    kept.clear();
    let mut state = State { words, at: 0, kept_words: 0, sentences: 0, lines: [0; 8], first: None, begun: false };
    let mut judge = |line: &str, start: usize| {
        let bare = stripped(line);
        let start = start + (bare.as_ptr() as usize - line.as_ptr() as usize);
        let own = state.words_within(start, start + bare.len());
        if settings.long_word.is_some_and(|longest| has_longer(bare, longest as usize)) {
            return state.count(Line::LongWord);
        }
        let clean = if cited && settings.citations { uncited(bare) } else { Cow::Borrowed(bare) };
        let changed = matches!(clean, Cow::Owned(_));
        if changed {
            state.count(Line::Cited);
        }
        if !ends_a_sentence(&clean, settings.chinese) {
            state.count(Line::Unpunctuated);
            if settings.terminal_punctuation {
                return;
            }
        }
        if let Some(fewest) = settings.line_words {
            let count = if settings.chinese {
                own.iter().filter(|word| !word.is_symbols()).count()
            } else {
                spaced(bare, fewest as usize + 1)
            };
            if (count as f64) < fewest {
                return state.count(Line::Short);
            }
        }
        let lower;
        let lower = if changed {
            lower = clean.to_ascii_lowercase();
            lower.as_str()
        } else {
            &lowered[start..start + bare.len()]
        };
        // Taking out a citation may join what the whole text does not have.
        let within = |finder: &Finder, anywhere: bool| (anywhere || changed) && finder.find(lower.as_bytes()).is_some();
        if within(&finders.lorem_ipsum, lorem_ipsum) {
            state.count(Line::LoremIpsum);
            state.drop(Rule::C4LoremIpsum, settings.lorem_ipsum);
        }
        if within(&finders.javascript, javascript) {
            state.count(Line::Javascript);
            if settings.javascript {
                return;
            }
        }
        if curly && clean.contains('{') {
            state.count(Line::CurlyBracket);
            state.drop(Rule::C4CurlyBracket, settings.curly_bracket);
        }
        if finders.policies.iter().any(|finder| within(finder, policy)) {
            state.count(Line::Policy);
            if settings.policy {
                return;
            }
        }
        let own = if changed {
            split(&clean, segmentation, own_words, scratch);
            &own_words[..]
        } else {
            own
        };
        state.kept_words += own.len();
        state.sentences += 1;
        if !settings.by_sentence {
            sentences(own, |_| state.sentences += 1);
        }
        if state.begun {
            kept.push(if settings.by_sentence { ' ' } else { '\n' });
        }
        state.begun = true;
        kept.push_str(&clean);
    };
    let base = text.as_ptr() as usize;
    if settings.by_sentence {
        let mut start = 0;
        sentences(words, |word| {
            judge(&text[start..words[word].start], start);
            start = words[word].start;
        });
        judge(&text[start..], start);
    } else {
        any_lines(text).for_each(|line| judge(line, line.as_ptr() as usize - base));
    }
    state.measured(values);
    let left = stripped(kept);
    let text = if left == text { Cow::Borrowed(text) } else { Cow::Owned(left.to_owned()) };
    Kept { text, words: state.kept_words, first: state.first }
}

/// What can be said of a line.
#[derive(Clone, Copy)]
enum Line {
    LongWord,
    Cited,
    Unpunctuated,
    Short,
    LoremIpsum,
    Javascript,
    CurlyBracket,
    Policy,
}

struct State<'w> {
    words: &'w [Word],
    /// The first word that is not behind the last line.
    at: usize,
    kept_words: usize,
    sentences: usize,
    lines: [usize; 8],
    first: Option<Rule>,
    /// A line was kept.
    begun: bool,
}

impl<'w> State<'w> {
    /// The words between two bytes, which move forward.
    fn words_within(&mut self, start: usize, end: usize) -> &'w [Word] {
        let ahead = |from: usize, to: usize| self.words[from..].iter().take_while(|word| word.start < to).count();
        let first = self.at + ahead(self.at, start);
        let last = first + ahead(first, end);
        self.at = last;
        &self.words[first..last]
    }

    fn measured(&self, values: &mut Vec<(Measure, f64)>) {
        let line = |line: Line| self.lines[line as usize] as f64;
        values.extend([
            (Measure::LongWordLines, line(Line::LongWord)),
            (Measure::CitedLines, line(Line::Cited)),
            (Measure::UnpunctuatedLines, line(Line::Unpunctuated)),
            (Measure::ShortLines, line(Line::Short)),
            (Measure::LoremIpsumLines, line(Line::LoremIpsum)),
            (Measure::JavascriptLines, line(Line::Javascript)),
            (Measure::CurlyBracketLines, line(Line::CurlyBracket)),
            (Measure::PolicyLines, line(Line::Policy)),
            (Measure::Sentences, self.sentences as f64),
        ]);
    }

    fn count(&mut self, line: Line) {
        self.lines[line as usize] += 1;
    }

    fn drop(&mut self, rule: Rule, on: bool) {
        if on {
            self.first.get_or_insert(rule);
        }
    }
}
