//! What a model says of itself.

use super::file::Reader;

/// The longest n-grams that are looked at; published models stay below 10.
const LONGEST_GRAM: i32 = 100;

/// How scores of labels are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// A path through a tree for each label.
    HierarchicalSoftmax,
    /// Each label by itself.
    NegativeSampling,
    /// All labels together.
    Softmax,
    /// Each label by itself.
    OneVersusAll,
}

/// The settings that predictions need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) dimension: usize,
    pub(super) loss: Loss,
    /// N-grams are told apart by their hash modulo this.
    pub(super) buckets: u32,
    /// Characters of n-grams within words; 0 at most where there are none.
    pub(super) least_characters: usize,
    pub(super) most_characters: usize,
    pub(super) words_in_a_gram: usize,
}

impl Settings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, String> {
        if reader.i32("the head")? != super::MAGIC {
            return Err("this is not a model of fastText".to_owned());
        }
        let version = reader.i32("the version")?;
        if !(11..=12).contains(&version) {
            return Err(format!("version {version} of the format, where 11 and 12 are known"));
        }
        let dimension = reader.count("the dimension")?;
        for what in ["the window", "the epochs", "the least count", "the negative samples"] {
            reader.i32(what)?;
        }
        let words_in_a_gram = reader.i32("the words of an n-gram")?;
        let loss = match reader.i32("the loss")? {
            1 => Loss::HierarchicalSoftmax,
            2 => Loss::NegativeSampling,
            3 => Loss::Softmax,
            4 => Loss::OneVersusAll,
            other => return Err(format!("an unknown loss, {other}")),
        };
        match reader.i32("the kind of model")? {
            3 => {}
            1 | 2 => return Err("a model of word vectors, which knows no labels".to_owned()),
            other => return Err(format!("an unknown kind of model, {other}")),
        }
        let buckets = reader.i32("the buckets")?;
        let least_characters = reader.i32("the least characters of an n-gram")?;
        // The first version wrote it down and did not use it.
        let most_characters = reader.i32("the most characters of an n-gram")?;
        let most_characters = if version == 11 { 0 } else { most_characters };
        reader.i32("the rate of updates")?;
        reader.i64("the threshold of sampling")?;
        if most_characters > LONGEST_GRAM || words_in_a_gram > LONGEST_GRAM {
            return Err(format!(
                "n-grams of {most_characters} characters and {words_in_a_gram} words, where {LONGEST_GRAM} is the most"
            ));
        }
        let natural = |number: i32| usize::try_from(number).unwrap_or(0);
        let settings = Self {
            dimension,
            loss,
            buckets: u32::try_from(buckets).map_err(|_| format!("{buckets} buckets"))?,
            least_characters: natural(least_characters),
            most_characters: natural(most_characters),
            words_in_a_gram: natural(words_in_a_gram),
        };
        if settings.has_grams() && settings.buckets == 0 {
            return Err("n-grams, and no buckets for them".to_owned());
        }
        Ok(settings)
    }

    /// Whether there are n-grams of characters or words.
    pub(super) fn has_grams(&self) -> bool {
        self.most_characters > 0 || self.words_in_a_gram > 1
    }
}
