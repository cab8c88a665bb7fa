//! Entities in tagged sentences, as seqeval counts them.
//!
//! A tag is a letter and a type: `B-PER`. What counts is not the tags but the entities that they spell: one is right if
//! its first token, its last token, and its type are (Tjong Kim Sang and De Meulder, 2003). Tags can be read in two ways:
//! leniently, as the `conlleval` script does, where an `I-` after an `O` begins an entity; or strictly by a scheme, where
//! what the scheme does not spell is no entity.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::interval::Statistic;
use super::precision_recall::{Average, MatchCounts, PrecisionRecall, ratio};

/// The type of an entity whose tags have none (`B`, `I`).
const NAMELESS: &str = "_";

/// How letters mark where an entity begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagScheme {
    /// `B` only where an entity follows one of its type at once; else every token has `I`. CoNLL-2003's files are in it.
    Iob1,
    /// `B` for the first token, `I` for the others. Also called BIO.
    Iob2,
    /// `S` for an entity of one token; else `B` for the first, `E` for the last, `I` between. Also called BIOES.
    Iobes,
    /// `U` for an entity of one token; else `B` for the first, `L` for the last, `I` between.
    Bilou,
}

/// How tags become entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagReading {
    /// As seqeval without arguments, and conlleval: whatever the tags are, something is made of them. An entity ends
    /// where the type changes.
    Lenient,
    /// As seqeval with `mode="strict"`: only what the scheme spells. Tags whose letter the scheme does not have stand
    /// outside (seqeval refuses them).
    Strict(TagScheme),
}

/// An entity: some tokens of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// Its first token, from 0.
    pub start: usize,
    /// The token after its last.
    pub end: usize,
    /// Its type, `_` if its tags have none.
    pub kind: String,
}

impl TagScheme {
    /// The scheme of a set of tags (a model's labels, say), from their letters. `B` and `I` are read as [`Iob2`], since
    /// in [`Iob1`] they look alike; [`detect_in`] can tell them apart in sentences. None where no tag stands inside an
    /// entity, and where letters do not go together.
    ///
    /// [`Iob1`]: Self::Iob1
    /// [`Iob2`]: Self::Iob2
    /// [`detect_in`]: Self::detect_in
    pub fn detect<'a>(tags: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let letters: BTreeSet<char> = tags.into_iter().filter_map(|tag| tag.chars().next()).collect();
        let has = |letter| letters.contains(&letter);
        let only = |known: &str| letters.iter().all(|&letter| known.contains(letter));
        if (has('L') || has('U')) && only("BILOU") && (has('B') || !has('L')) {
            Some(Self::Bilou)
        } else if (has('E') || has('S')) && only("BIOES") && (has('B') || !has('E')) {
            Some(Self::Iobes)
        } else if has('B') && only("BIO") {
            Some(Self::Iob2)
        } else if has('I') && only("IO") {
            Some(Self::Iob1)
        } else {
            None
        }
    }

    /// The scheme of tagged sentences: [`detect`], and [`Iob1`] instead of [`Iob2`] where some entity begins with `I` and
    /// no `B` stands elsewhere than after a token of its type.
    ///
    /// [`detect`]: Self::detect
    /// [`Iob1`]: Self::Iob1
    /// [`Iob2`]: Self::Iob2
    pub fn detect_in<S: AsRef<str>>(sentences: &[Vec<S>]) -> Option<Self> {
        let scheme = Self::detect(sentences.iter().flatten().map(AsRef::as_ref))?;
        if scheme != Self::Iob2 {
            return Some(scheme);
        }
        let (mut begins_inside, mut begins_apart) = (false, false);
        for sentence in sentences {
            let mut before = ('O', Cow::Borrowed(NAMELESS));
            for tag in sentence {
                let now = strict_tag(tag.as_ref());
                let follows = before.0 != 'O' && before.1 == now.1;
                begins_inside |= now.0 == 'I' && !follows;
                begins_apart |= now.0 == 'B' && !follows;
                before = now;
            }
        }
        Some(if begins_inside && !begins_apart { Self::Iob1 } else { Self::Iob2 })
    }

    /// Whether a tag's letter is one of the scheme's.
    pub fn admits(self, tag: &str) -> bool {
        let letters = match self {
            Self::Iob1 | Self::Iob2 => "IOB",
            Self::Iobes => "IOBES",
            Self::Bilou => "BILOU",
        };
        tag.chars().next().is_some_and(|letter| letters.contains(letter))
    }

    fn begins(self, before: char, now: char, same: bool) -> bool {
        match self {
            Self::Iob1 => match now {
                'I' => matches!(before, 'O' | 'B') || (before == 'I' && !same),
                'B' => before != 'O' && same,
                _ => false,
            },
            Self::Iob2 => now == 'B',
            Self::Iobes => matches!(now, 'B' | 'S'),
            Self::Bilou => matches!(now, 'B' | 'U'),
        }
    }

    fn continues(self, before: char, now: char, same: bool) -> bool {
        let inside = match self {
            Self::Iob1 | Self::Iob2 => now == 'I',
            Self::Iobes => matches!(now, 'I' | 'E'),
            Self::Bilou => matches!(now, 'I' | 'L'),
        };
        inside && same && matches!(before, 'B' | 'I')
    }

    /// Whether an entity may end between two tokens of which the second does not continue it.
    fn ends(self, before: char, now: char, same: bool) -> bool {
        match self {
            Self::Iob1 => before == 'I' || now != 'B' || same,
            Self::Iob2 => true,
            Self::Iobes => matches!(before, 'E' | 'S'),
            Self::Bilou => matches!(before, 'L' | 'U'),
        }
    }
}

impl TagReading {
    /// The entities of a sentence, from left to right.
    pub fn entities<S: AsRef<str>>(self, tags: &[S]) -> Vec<Entity> {
        match self {
            Self::Lenient => lenient(tags),
            Self::Strict(scheme) => strict(tags, scheme),
        }
    }
}

/// A tag's letter and type as the lenient reading has them: the type is what follows the first hyphen.
fn lenient_tag(tag: &str) -> (char, &str) {
    let mut rest = tag.chars();
    let Some(letter) = rest.next() else { return ('O', NAMELESS) };
    let rest = rest.as_str();
    let kind = rest.split_once('-').map_or(rest, |(_, kind)| kind);
    (letter, if kind.is_empty() { NAMELESS } else { kind })
}

/// A tag's letter and type as the strict reading has them: the type is what follows the letter, without hyphens around it.
fn strict_tag(tag: &str) -> (char, Cow<'_, str>) {
    let mut rest = tag.chars();
    let letter = rest.next().unwrap_or('O');
    let kind = rest.as_str().trim_matches('-');
    (letter, Cow::Borrowed(if kind.is_empty() { NAMELESS } else { kind }))
}

fn lenient<S: AsRef<str>>(tags: &[S]) -> Vec<Entity> {
    let mut entities = Vec::new();
    let mut before = ('O', "");
    let mut start = 0;
    for (place, tag) in tags.iter().map(AsRef::as_ref).chain(["O"]).enumerate() {
        let now = lenient_tag(tag);
        let outside = |letter| matches!(letter, 'O' | '.');
        let changes = before.1 != now.1;
        let ends = match before.0 {
            'E' | 'S' => true,
            'B' | 'I' => matches!(now.0, 'B' | 'S' | 'O'),
            _ => false,
        };
        if ends || (!outside(before.0) && changes) {
            entities.push(Entity { start, end: place, kind: before.1.to_owned() });
        }
        let begins = match now.0 {
            'B' | 'S' => true,
            'E' | 'I' => matches!(before.0, 'E' | 'S' | 'O'),
            _ => false,
        };
        if begins || (!outside(now.0) && changes) {
            start = place;
        }
        before = now;
    }
    entities
}

fn strict<S: AsRef<str>>(tags: &[S], scheme: TagScheme) -> Vec<Entity> {
    let outside = ('O', Cow::Borrowed(NAMELESS));
    let read = |tag: &S| if scheme.admits(tag.as_ref()) { owned(strict_tag(tag.as_ref())) } else { outside.clone() };
    // One more at the end, where an entity of the last token ends.
    let tags: Vec<(char, Cow<str>)> = tags.iter().map(read).chain([outside.clone()]).collect();
    let mut entities = Vec::new();
    let mut before = &outside;
    let mut place = 0;
    while place < tags.len() {
        let now = &tags[place];
        let begin = place;
        place += 1;
        if scheme.begins(before.0, now.0, before.1 == now.1) {
            let follows = |place: usize| {
                let (last, next) = (&tags[place - 1], &tags[place]);
                (last.0, next.0, last.1 == next.1)
            };
            while place < tags.len() {
                let (last, next, same) = follows(place);
                if !scheme.continues(last, next, same) {
                    break;
                }
                place += 1;
            }
            let (last, next, same) = follows(place);
            if scheme.ends(last, next, same) {
                entities.push(Entity { start: begin, end: place, kind: now.1.clone().into_owned() });
            }
        }
        before = &tags[place - 1];
    }
    entities
}

fn owned((letter, kind): (char, Cow<'_, str>)) -> (char, Cow<'static, str>) {
    (letter, Cow::Owned(kind.into_owned()))
}

/// What a sentence contributes, and what sentences add up to: entities by type, and tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagCounts {
    types: BTreeMap<String, MatchCounts>,
    tokens: u64,
    correct: u64,
}

impl TagCounts {
    /// Compares a sentence's tags with those that were predicted. If one has fewer, because a model saw only the
    /// beginning of a long sentence, the rest of its tags are `O`.
    pub fn of<G: AsRef<str>, P: AsRef<str>>(gold: &[G], predicted: &[P], reading: TagReading) -> Self {
        let tokens = gold.len().max(predicted.len());
        let correct = (0..tokens)
            .filter(|&place| {
                gold.get(place).map_or("O", AsRef::as_ref) == predicted.get(place).map_or("O", AsRef::as_ref)
            })
            .count();
        let mut counts = Self { types: BTreeMap::new(), tokens: tokens as u64, correct: correct as u64 };
        let gold: BTreeSet<Entity> = reading.entities(gold).into_iter().collect();
        let predicted: BTreeSet<Entity> = reading.entities(predicted).into_iter().collect();
        for entity in &predicted {
            let of_type = counts.types.entry(entity.kind.clone()).or_default();
            of_type.predicted += 1;
            of_type.correct += u64::from(gold.contains(entity));
        }
        for entity in gold {
            counts.types.entry(entity.kind).or_default().gold += 1;
        }
        counts
    }

    /// The scores of all types as one, over the types of entities that are there or were found; 0 without any.
    pub fn scores(&self, average: Average) -> PrecisionRecall {
        average.of(self.types.values().copied(), 0)
    }

    /// The scores of every type of which an entity is there or was found, by name.
    pub fn by_type(&self) -> impl Iterator<Item = (&str, PrecisionRecall)> {
        self.types.iter().map(|(kind, counts)| (kind.as_str(), counts.scores()))
    }

    /// The share of tags that are right, letter and type, `O` among them; none without tokens.
    pub fn accuracy(&self) -> Option<f64> {
        (self.tokens > 0).then(|| ratio(self.correct, self.tokens))
    }
}

impl Statistic for TagCounts {
    type Sum = Self;

    fn add_to(&self, sum: &mut Self, times: u64) {
        sum.tokens += self.tokens * times;
        sum.correct += self.correct * times;
        for (kind, counts) in &self.types {
            match sum.types.get_mut(kind) {
                Some(sum) => sum.add(*counts, times),
                None if times > 0 => sum.types.entry(kind.clone()).or_default().add(*counts, times),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reading: TagReading, tags: &str) -> Vec<(usize, usize, String)> {
        let tags: Vec<&str> = tags.split(' ').collect();
        reading.entities(&tags).into_iter().map(|entity| (entity.start, entity.end, entity.kind)).collect()
    }

    #[test]
    fn an_inside_tag_begins_an_entity_leniently_only() {
        let tags = "O I-PER I-PER I-LOC O B-LOC";
        let all = [(1, 3, "PER".to_owned()), (3, 4, "LOC".to_owned()), (5, 6, "LOC".to_owned())];
        assert_eq!(read(TagReading::Lenient, tags), all);
        assert_eq!(read(TagReading::Strict(TagScheme::Iob2), tags), all[2..]);
        assert_eq!(read(TagReading::Strict(TagScheme::Iob1), tags), all[..2]);
    }

    #[test]
    fn an_entity_of_bioes_needs_its_end() {
        let tags = "B-A I-A E-A S-B B-A I-A O B-A E-B";
        let found = read(TagReading::Strict(TagScheme::Iobes), tags);
        assert_eq!(found, [(0, 3, "A".to_owned()), (3, 4, "B".to_owned())]);
    }

    #[test]
    fn nothing_and_strange_tags_are_no_trouble() {
        for reading in [TagReading::Lenient].into_iter().chain(SCHEMES.into_iter().map(TagReading::Strict)) {
            assert_eq!(reading.entities::<&str>(&[]), []);
            for tags in ["", "é-人", "🙂", "B", "B- I-", "-", "אב", "O-PER", ". B-X .", "B-- I--"] {
                for entity in reading.entities(&tags.split(' ').collect::<Vec<_>>()) {
                    assert!(entity.start < entity.end && !entity.kind.is_empty(), "{tags:?}: {entity:?}");
                }
            }
            let none = TagCounts::of::<&str, &str>(&[], &[], reading);
            assert_eq!((none.accuracy(), none.scores(Average::Macro)), (None, PrecisionRecall::default()));
        }
    }

    const SCHEMES: [TagScheme; 4] = [TagScheme::Iob1, TagScheme::Iob2, TagScheme::Iobes, TagScheme::Bilou];

    #[test]
    fn missing_tags_are_outside() {
        let counts = TagCounts::of(&["B-A", "O", "B-A", "O"], &["B-A"], TagReading::Lenient);
        assert_eq!(counts.accuracy(), Some(0.75));
        let scores = counts.scores(Average::Micro);
        assert_eq!((scores.precision, scores.recall, scores.support), (1.0, 0.5, 2));
    }

    #[test]
    fn schemes_are_told_by_their_letters() {
        let detect = |tags: &str| TagScheme::detect(tags.split(' '));
        assert_eq!(detect("O B-PER I-PER"), Some(TagScheme::Iob2));
        assert_eq!(detect("O I-PER"), Some(TagScheme::Iob1));
        assert_eq!(detect("O B-X I-X E-X S-X"), Some(TagScheme::Iobes));
        assert_eq!(detect("S-X O"), Some(TagScheme::Iobes));
        assert_eq!(detect("O B-X L-X"), Some(TagScheme::Bilou));
        assert_eq!(detect("U-X"), Some(TagScheme::Bilou));
        for none in ["O", "", "I-X E-X", "U-X S-X", "PER LOC", "B-X I-X X"] {
            assert_eq!(detect(none), None, "{none}");
        }
    }

    #[test]
    fn iob1_is_told_in_sentences() {
        let sentences = |text: &str| {
            text.split('|').map(|line| line.split(' ').map(str::to_owned).collect()).collect::<Vec<Vec<_>>>()
        };
        let detect = |text| TagScheme::detect_in(&sentences(text));
        assert_eq!(detect("I-PER I-PER O|I-LOC B-LOC O"), Some(TagScheme::Iob1));
        assert_eq!(detect("B-PER I-PER O|B-LOC B-LOC O"), Some(TagScheme::Iob2));
        assert_eq!(detect("B-PER I-PER O|I-LOC"), Some(TagScheme::Iob2));
        assert_eq!(detect("S-PER O"), Some(TagScheme::Iobes));
    }
}
