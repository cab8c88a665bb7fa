//! Every rule of the published filters by name, with what it measures and where it draws the line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A published set of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Preset {
    /// Repetition, of Gopher: Rae et al. (2021), table A1.
    GopherRepetition,
    /// Quality, of Gopher: Rae et al. (2021), appendix A.1.1.
    GopherQuality,
    /// C4: Raffel et al. (2020), section 2.2, without its list of bad words.
    C4,
    /// FineWeb: Penedo et al. (2024), section 3.6.
    Fineweb,
}

impl Preset {
    /// Every one, in the order in which FineWeb applies them.
    pub const ALL: &'static [Self] = &[Self::GopherRepetition, Self::GopherQuality, Self::C4, Self::Fineweb];

    /// What a recipe calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::GopherRepetition => "gopher_repetition",
            Self::GopherQuality => "gopher_quality",
            Self::C4 => "c4",
            Self::Fineweb => "fineweb",
        }
    }
}

/// On which side of its limit a value fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Less than the limit fails.
    Below,
    /// More than the limit fails.
    Above,
}

/// Declares rules and measures in one table, so that a name, a measure and a limit cannot part.
macro_rules! rules {
    ($($(#[$documentation:meta])* $rule:ident $name:literal $preset:ident $measure:ident $side:ident $limit:literal;)*) => {
        /// One rule of a published filter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum Rule {
            $($(#[$documentation])* $rule,)*
        }

        impl Rule {
            /// Every rule, in the order in which the filters ask them.
            pub const ALL: &'static [Self] = &[$(Self::$rule),*];

            /// What a recipe and the records call it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$rule => $name,)* }
            }

            /// The filter that it is of.
            pub fn preset(self) -> Preset {
                match self { $(Self::$rule => Preset::$preset,)* }
            }

            /// The value that it looks at.
            pub fn measure(self) -> Measure {
                match self { $(Self::$rule => Measure::$measure,)* }
            }

            /// The side of the limit that fails.
            pub fn side(self) -> Side {
                match self { $(Self::$rule => Side::$side,)* }
            }

            /// The published limit.
            pub fn published(self) -> f64 {
                match self { $(Self::$rule => f64::from($limit),)* }
            }
        }
    };
}

rules! {
    /// Nothing at all.
    RepetitionEmpty "repetition_empty" GopherRepetition Characters Below 1;
    /// Paragraphs that stood before, as a share of paragraphs.
    RepetitionParagraphs "repetition_paragraphs" GopherRepetition DuplicateParagraphs Above 0.3;
    /// Characters of paragraphs that stood before, as a share of the text.
    RepetitionParagraphCharacters "repetition_paragraph_characters" GopherRepetition DuplicateParagraphCharacters Above 0.2;
    /// Lines that stood before, as a share of lines.
    RepetitionLines "repetition_lines" GopherRepetition DuplicateLines Above 0.3;
    /// Characters of lines that stood before, as a share of the text.
    RepetitionLineCharacters "repetition_line_characters" GopherRepetition DuplicateLineCharacters Above 0.2;
    /// Characters of the most frequent pair of words, as a share of the text.
    RepetitionTop2Gram "repetition_top_2_gram" GopherRepetition Top2Gram Above 0.2;
    /// The same of three words.
    RepetitionTop3Gram "repetition_top_3_gram" GopherRepetition Top3Gram Above 0.18;
    /// The same of four words.
    RepetitionTop4Gram "repetition_top_4_gram" GopherRepetition Top4Gram Above 0.16;
    /// Characters of five words in a row that stood before, as a share of the text.
    RepetitionDuplicate5Gram "repetition_duplicate_5_gram" GopherRepetition Duplicate5Gram Above 0.15;
    /// The same of six words.
    RepetitionDuplicate6Gram "repetition_duplicate_6_gram" GopherRepetition Duplicate6Gram Above 0.14;
    /// The same of seven words.
    RepetitionDuplicate7Gram "repetition_duplicate_7_gram" GopherRepetition Duplicate7Gram Above 0.13;
    /// The same of eight words.
    RepetitionDuplicate8Gram "repetition_duplicate_8_gram" GopherRepetition Duplicate8Gram Above 0.12;
    /// The same of nine words.
    RepetitionDuplicate9Gram "repetition_duplicate_9_gram" GopherRepetition Duplicate9Gram Above 0.11;
    /// The same of ten words.
    RepetitionDuplicate10Gram "repetition_duplicate_10_gram" GopherRepetition Duplicate10Gram Above 0.1;
    /// Words, without those of symbols only: too few.
    GopherMinWords "gopher_min_words" GopherQuality Words Below 50;
    /// Words, without those of symbols only: too many.
    GopherMaxWords "gopher_max_words" GopherQuality Words Above 100_000;
    /// Characters of the mean word: too few.
    GopherMinMeanWordLength "gopher_min_mean_word_length" GopherQuality MeanWordLength Below 3;
    /// Characters of the mean word: too many.
    GopherMaxMeanWordLength "gopher_max_mean_word_length" GopherQuality MeanWordLength Above 10;
    /// Number signs, for each word.
    GopherHashes "gopher_hashes" GopherQuality Hashes Above 0.1;
    /// Ellipses, for each word.
    GopherEllipses "gopher_ellipses" GopherQuality Ellipses Above 0.1;
    /// Lines that begin with a bullet, as a share of lines.
    GopherBulletLines "gopher_bullet_lines" GopherQuality BulletLines Above 0.9;
    /// Lines that end with an ellipsis, as a share of lines.
    GopherEllipsisLines "gopher_ellipsis_lines" GopherQuality EllipsisLines Above 0.3;
    /// Words with a letter, as a share of words.
    GopherAlphabeticWords "gopher_alphabetic_words" GopherQuality AlphabeticWords Below 0.8;
    /// Different words of a short list of frequent ones.
    GopherStopWords "gopher_stop_words" GopherQuality StopWords Below 2;
    /// Characters of the longest word of a line, which is dropped above them.
    C4LongWord "c4_long_word" C4 LongWordLines Above 1000;
    /// Marks of citations, which are taken out.
    C4Citation "c4_citation" C4 CitedLines Above 0;
    /// A line without a mark at its end is dropped.
    C4TerminalPunctuation "c4_terminal_punctuation" C4 UnpunctuatedLines Above 0;
    /// Words of a line, which is dropped below them.
    C4LineWords "c4_line_words" C4 ShortLines Below 3;
    /// A line with the filler "lorem ipsum" drops the document.
    C4LoremIpsum "c4_lorem_ipsum" C4 LoremIpsumLines Above 0;
    /// A line that names JavaScript is dropped.
    C4Javascript "c4_javascript" C4 JavascriptLines Above 0;
    /// A line with a curly bracket drops the document.
    C4CurlyBracket "c4_curly_bracket" C4 CurlyBracketLines Above 0;
    /// A line about cookies, terms of use or privacy is dropped.
    C4Policy "c4_policy" C4 PolicyLines Above 0;
    /// Sentences in the lines that are left.
    C4Sentences "c4_sentences" C4 Sentences Below 5;
    /// Lines that are not blank.
    FinewebEmpty "fineweb_empty" Fineweb Lines Below 1;
    /// Lines that end with a mark, as a share of lines.
    FinewebLinePunctuation "fineweb_line_punctuation" Fineweb PunctuatedLines Below 0.12;
    /// Lines of a few characters, as a share of lines.
    FinewebShortLines "fineweb_short_lines" Fineweb FewCharacterLines Above 0.67;
    /// Characters of lines that stood before, as a share of the text without its line ends.
    FinewebDuplicateCharacters "fineweb_duplicate_characters" Fineweb RepeatedLineCharacters Above 0.01;
    /// Line ends, for each word.
    FinewebNewLines "fineweb_new_lines" Fineweb NewLines Above 0.3;
}

impl Rule {
    /// True of the rules of C4 that change a text line by line and drop no document.
    pub fn is_of_lines(self) -> bool {
        matches!(
            self,
            Self::C4LongWord
                | Self::C4Citation
                | Self::C4TerminalPunctuation
                | Self::C4LineWords
                | Self::C4Javascript
                | Self::C4Policy
        )
    }
}

/// Declares the values and their names.
macro_rules! measures {
    ($($(#[$documentation:meta])* $measure:ident $name:literal;)*) => {
        /// A value that is measured of a text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum Measure {
            $($(#[$documentation])* $measure,)*
        }

        impl Measure {
            /// Every value, in the order in which they are measured.
            pub const ALL: &'static [Self] = &[$(Self::$measure),*];

            /// What the records call it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$measure => $name,)* }
            }
        }
    };
}

measures! {
    /// Code points of the text.
    Characters "characters";
    /// Share of paragraphs that stood before.
    DuplicateParagraphs "duplicate_paragraphs";
    /// Share of the characters, in paragraphs that stood before.
    DuplicateParagraphCharacters "duplicate_paragraph_characters";
    /// Share of lines that stood before.
    DuplicateLines "duplicate_lines";
    /// Share of the characters, in lines that stood before.
    DuplicateLineCharacters "duplicate_line_characters";
    /// Share of the characters, in the most frequent pair of words.
    Top2Gram "top_2_gram";
    /// Share of the characters, in the most frequent three words.
    Top3Gram "top_3_gram";
    /// Share of the characters, in the most frequent four words.
    Top4Gram "top_4_gram";
    /// Share of the characters, in five words that stood before.
    Duplicate5Gram "duplicate_5_gram";
    /// Share of the characters, in six words that stood before.
    Duplicate6Gram "duplicate_6_gram";
    /// Share of the characters, in seven words that stood before.
    Duplicate7Gram "duplicate_7_gram";
    /// Share of the characters, in eight words that stood before.
    Duplicate8Gram "duplicate_8_gram";
    /// Share of the characters, in nine words that stood before.
    Duplicate9Gram "duplicate_9_gram";
    /// Share of the characters, in ten words that stood before.
    Duplicate10Gram "duplicate_10_gram";
    /// Words that are not symbols only.
    Words "words";
    /// Mean code points of those words.
    MeanWordLength "mean_word_length";
    /// Number signs for each word, symbols too.
    Hashes "hashes";
    /// Ellipses for each word, symbols too.
    Ellipses "ellipses";
    /// Share of lines that begin with a bullet.
    BulletLines "bullet_lines";
    /// Share of lines that end with an ellipsis.
    EllipsisLines "ellipsis_lines";
    /// Share of words, symbols too, that have a letter.
    AlphabeticWords "alphabetic_words";
    /// Different words of the list.
    StopWords "stop_words";
    /// Lines dropped for a word too long.
    LongWordLines "long_word_lines";
    /// Lines of which citations were taken out.
    CitedLines "cited_lines";
    /// Lines dropped for the lack of a mark at their end.
    UnpunctuatedLines "unpunctuated_lines";
    /// Lines dropped for too few words.
    ShortLines "short_lines";
    /// Lines with "lorem ipsum".
    LoremIpsumLines "lorem_ipsum_lines";
    /// Lines dropped for naming JavaScript.
    JavascriptLines "javascript_lines";
    /// Lines with a curly bracket.
    CurlyBracketLines "curly_bracket_lines";
    /// Lines dropped for cookies, terms of use or privacy.
    PolicyLines "policy_lines";
    /// Sentences that C4 leaves.
    Sentences "sentences";
    /// Lines that are not blank.
    Lines "lines";
    /// Share of those that end with a mark.
    PunctuatedLines "punctuated_lines";
    /// Share of those with few characters.
    FewCharacterLines "few_character_lines";
    /// Share of the characters, in lines that stood before, without line ends.
    RepeatedLineCharacters "repeated_line_characters";
    /// Line ends for each word.
    NewLines "new_lines";
}

/// The one of this name, or where to look.
fn named<T: Copy>(what: &str, all: &[T], name: fn(T) -> &'static str, text: &str) -> Result<T, String> {
    all.iter().copied().find(|&one| name(one) == text).ok_or_else(|| {
        let plain = text.to_lowercase().replace([' ', '-'], "_");
        let distance = |one: T| strsim::damerau_levenshtein(&plain, name(one));
        let nearest = all.iter().copied().min_by_key(|&one| distance(one));
        let near = nearest.filter(|&one| distance(one) <= (name(one).len() / 3).max(1));
        let Some(near) = near else {
            let names: Vec<_> = all.iter().map(|&one| name(one)).collect();
            return format!("there is no {what} \"{text}\"; there are {}", names.join(", "));
        };
        format!("there is no {what} \"{text}\"; did you mean \"{}\"?", name(near))
    })
}

/// What a named item of a recipe or of the records needs.
macro_rules! names {
    ($($kind:ident $what:literal)*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.name())
            }
        }

        impl FromStr for $kind {
            type Err = String;

            /// The one of this name, or the nearest that there is.
            fn from_str(text: &str) -> Result<Self, String> {
                named($what, Self::ALL, Self::name, text)
            }
        }

        impl TryFrom<String> for $kind {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$kind> for String {
            fn from(one: $kind) -> Self {
                one.name().to_owned()
            }
        }
    )*};
}

names! { Preset "filter" Rule "rule" Measure "measure" }
