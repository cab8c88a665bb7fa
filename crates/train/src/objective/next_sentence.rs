//! Next sentences (Devlin et al. 2019, section 3.1): a row is `[CLS] A [SEP] B [SEP]`. Half of the Bs go on where A ends in
//! the same document, half are of another document of the same source, and the model tells which.
//!
//! A row's document is the one that a place of its window falls into, and A begins where the window does, or the document.
//! A ends at the end of a sentence where the text has marks of such, else at the end of a word; a B of another document
//! begins behind such an end too, and is as long as the one that it stands for where its document allows that, so that
//! neither its beginning nor its length gives it away.

use super::masking::Masking;
use super::{Draw, Example, IGNORE, Window};
use loam_corpus::{TokenStream, Tokenizer};

/// Marks that end sentences.
const ENDS: [&str; 9] = [".", "!", "?", "…", "。", "！", "？", "؟", "।"];

/// Places of another document that are drawn before the next one in the stream is taken.
const TRIES: u64 = 8;

/// Special tokens of a row.
pub(super) const FRAME: usize = 3;

// What random numbers are drawn for, beside those of masking.
const ANCHOR: u64 = 8;
const SPLIT: u64 = 9;
const FOLLOWS: u64 = 10;
const OTHER: u64 = 11;
const BEGIN: u64 = 12;

/// What is asked about the two sentences of an example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NextSentence {
    /// The place in the inputs at which the second begins.
    pub second: usize,
    /// Whether it follows the first.
    pub follows: bool,
    /// What its loss counts beside that of one token; see [`super::balance`].
    pub weight: f32,
}

/// Documents of a stream that can be split: their first tokens, and one past their last.
#[derive(Clone, Debug)]
pub(crate) struct Documents(Vec<(usize, usize)>);

impl Documents {
    /// Those of two tokens and more.
    pub(crate) fn of(stream: &TokenStream) -> Self {
        let Some(end) = stream.end_of_text() else { return Self(Vec::new()) };
        let (mut documents, mut first) = (Vec::new(), 0);
        for (place, id) in stream.iter().enumerate() {
            if id == end {
                documents.push((first, place));
                first = place + 1;
            }
        }
        documents.push((first, stream.len()));
        documents.retain(|(first, end)| first + 2 <= *end);
        Self(documents)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The document at a place of the stream, or the first one behind it; that of the stream's start behind the last.
    fn at(&self, place: usize) -> usize {
        let found = self.0.partition_point(|(_, end)| *end <= place);
        if found < self.0.len() { found } else { 0 }
    }
}

/// Which tokens end sentences.
#[derive(Clone, Debug)]
pub(super) struct Sentences {
    ends: Vec<bool>,
}

impl Sentences {
    pub(super) fn new(tokenizer: &Tokenizer) -> Self {
        let is_end = |id| {
            let name = tokenizer.token(id).unwrap_or_default();
            let text = name.strip_prefix("##").unwrap_or(&name).trim_start_matches(['\u{120}', '\u{2581}']);
            ENDS.contains(&text)
        };
        Self { ends: (0..tokenizer.vocabulary() as u32).map(is_end).collect() }
    }

    fn ends(&self, id: u32) -> bool {
        self.ends.get(id as usize).copied().unwrap_or(false)
    }

    /// Places in a text, from 1 on, at which a sentence begins; where there are none, those at which a word does; else
    /// every one.
    fn beginnings(&self, tokens: &[u32], masking: &Masking) -> Vec<usize> {
        let places = || 1..tokens.len();
        let word = |place: &usize| !masking.continues(tokens[*place]);
        let sentence = |place: &usize| self.ends(tokens[place - 1]) && !self.ends(tokens[*place]) && word(place);
        let found: Vec<usize> = places().filter(sentence).collect();
        if !found.is_empty() {
            return found;
        }
        let found: Vec<usize> = places().filter(word).collect();
        if found.is_empty() { places().collect() } else { found }
    }
}

/// A row of a window: its tokens, where they stand in the stream, and where B begins.
struct Row {
    tokens: Vec<u32>,
    places: Vec<u64>,
    second: usize,
    follows: bool,
}

impl Masking {
    /// The row that a window draws: up to `room` tokens of text.
    fn row(
        &self,
        sentences: &Sentences,
        window: &Window,
        stream: &TokenStream,
        documents: &Documents,
        room: usize,
        draw: Draw,
    ) -> Row {
        let total = stream.len();
        let anchor = (window.start + draw.below(ANCHOR, 0, window.tokens.len())) % total;
        let number = documents.at(anchor);
        let (first, end) = documents.0[number];
        // Where the window begins in the document, else its own beginning; as much of it as there is room for.
        let begin = if (first..end).contains(&window.start) { window.start } else { first };
        let begin = begin.min(end.saturating_sub(room).max(first));
        let end = end.min(begin + room);
        let mut tokens = Vec::with_capacity(room);
        stream.append(begin..end, &mut tokens);
        let beginnings = sentences.beginnings(&tokens, self);
        let second = beginnings[draw.below(SPLIT, 0, beginnings.len())];
        let follows = draw.uniform(FOLLOWS, 0) < 0.5;
        let mut places: Vec<u64> = (begin as u64..end as u64).collect();
        if !follows {
            let length = tokens.len() - second;
            tokens.truncate(second);
            places.truncate(second);
            let (begin, end) = self.elsewhere(sentences, stream, documents, number, length, draw);
            stream.append(begin..end, &mut tokens);
            places.extend(begin as u64..end as u64);
        }
        Row { tokens, places, second, follows }
    }

    /// A B of another document than that of this number: up to `room` tokens from the beginning of a sentence on.
    fn elsewhere(
        &self,
        sentences: &Sentences,
        stream: &TokenStream,
        documents: &Documents,
        number: usize,
        room: usize,
        draw: Draw,
    ) -> (usize, usize) {
        let drawn = (0..TRIES).map(|attempt| documents.at(draw.below(OTHER, attempt, stream.len())));
        let other = drawn.into_iter().find(|other| *other != number).unwrap_or((number + 1) % documents.len());
        let (first, end) = documents.0[other];
        let latest = end.saturating_sub(room).clamp(first, end - 1);
        let place = first + draw.below(BEGIN, 0, latest - first + 1);
        // The last sentence that begins before the place, not farther back than there is room for.
        let from = place.saturating_sub(room).max(first);
        let begin = if from == place {
            place
        } else {
            let mut before = Vec::with_capacity(place + 1 - from);
            stream.append(from..place + 1, &mut before);
            match sentences.beginnings(&before, self).last() {
                Some(last) => from + last,
                None => place,
            }
        };
        (begin, end.min(begin + room))
    }

    /// The example of a row whose masks are drawn as `mask` has it.
    fn next_example(&self, row: Row, mask: impl FnOnce(&[u32], &[u64]) -> (Vec<u32>, Vec<u32>)) -> Example {
        let (words, told) = mask(&row.tokens, &row.places);
        let framed = |ids: Vec<u32>, [begin, middle, end]: [u32; 3]| {
            let mut all = Vec::with_capacity(ids.len() + FRAME);
            all.push(begin);
            all.extend(&ids[..row.second]);
            all.push(middle);
            all.extend(&ids[row.second..]);
            all.push(end);
            all
        };
        let (begin, end) = self.ends();
        Example {
            source: Vec::new(),
            inputs: framed(words, [begin, end, end]),
            targets: framed(told, [IGNORE; 3]),
            next_sentence: Some(NextSentence { second: row.second + 2, follows: row.follows, weight: 0.0 }),
        }
    }

    /// The example of a window of training text, of up to `context` tokens; none where next sentences are not asked for.
    pub(crate) fn sentences_example(
        &self,
        window: &Window,
        stream: &TokenStream,
        documents: &Documents,
        context: usize,
    ) -> Option<Example> {
        let sentences = self.sentences()?;
        let draw = self.draw(window);
        let row = self.row(sentences, window, stream, documents, context.saturating_sub(FRAME).max(2), draw);
        Some(self.next_example(row, |tokens, places| self.masked(tokens, window, |at| places[at])))
    }

    /// For every target of that example, the place in the stream of the token that it stands for; of special tokens, the
    /// nearest token's.
    pub(crate) fn sentences_places(
        &self,
        window: &Window,
        stream: &TokenStream,
        documents: &Documents,
        context: usize,
    ) -> Option<Vec<usize>> {
        let sentences = self.sentences()?;
        let draw = self.draw(window);
        let row = self.row(sentences, window, stream, documents, context.saturating_sub(FRAME).max(2), draw);
        // [CLS] A [SEP] B [SEP]: one special token before A, two before B.
        let mut places: Vec<usize> = row.places.iter().map(|place| *place as usize).collect();
        places.insert(row.second, places[row.second.saturating_sub(1)]);
        places.insert(0, places[0]);
        Some(places)
    }

    /// The same of held-out text: a pure function of the window's place.
    pub(crate) fn held_out_sentences_example(
        &self,
        window: &Window,
        stream: &TokenStream,
        documents: &Documents,
        context: usize,
    ) -> Option<Example> {
        let sentences = self.sentences()?;
        let draw = Self::held_out_draw(window);
        let row = self.row(sentences, window, stream, documents, context.saturating_sub(FRAME).max(2), draw);
        Some(self.next_example(row, |tokens, _| self.held_out_masked(tokens, draw)))
    }
}
