//! `study quality`: what cleaning, filters and deduplication bring, and what noise at known rates costs.
//!
//! What is held out is cut off the texts first, by the hash of each document, and no treatment touches it, so that all arms are
//! measured on the same text. Treatments go over the rest, document by document; what they draw follows from the seed and the
//! document's place.

use std::collections::HashSet;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use loam_corpus::clean::{Step, clean};
use loam_corpus::quality::{Filters, Segmentation};
use loam_corpus::{Documents, ReadOptions, content_hash, find_files, identify_language};
use loam_train::recipe::{DataRecipe, Recipe, RecordFormat, SourceRecipe, Split};
use serde::{Deserialize, Serialize};

use super::arm::{Arm, Change, folder_name};
use super::conduct::{Study, check};
use super::folder::unwritten;
use crate::InfluenceError;

/// The part of each source that is held out where the recipe names no domains.
const HELD_OUT: f64 = 0.02;
/// Documents that a source needs so that a part of them can be held out.
const FEWEST: usize = 50;

/// What texts go through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Treatment {
    /// Steps of cleaning, by their names, in order.
    Clean(Vec<String>),
    /// Documents that fail a rule of Gopher, C4 or FineWeb go.
    Filter,
    /// Exact copies go.
    Deduplicate,
    /// This share of the documents has its words in random order.
    ShuffleWords(f64),
    /// This share of the documents has the markup and the menus of a page around its paragraphs.
    Markup(f64),
    /// This share of the characters is another one of the same document.
    Garble(f64),
    /// This share of the documents stands there once more.
    Copies(f64),
}

impl Treatment {
    /// What users write: `clean:STEP+STEP`, `filter`, `deduplicate`, `shuffle-words:RATE`, `markup:RATE`, `garble:RATE`,
    /// `copies:RATE`.
    ///
    /// # Errors
    /// What was expected, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "clean:STEP+STEP, filter, deduplicate, or a noise with its rate from 0 to 1: shuffle-words:RATE, \
                                markup:RATE, garble:RATE, copies:RATE";
        let (name, rest) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let rate = || {
            let rate: f64 = rest.and_then(|rest| rest.parse().ok()).ok_or(EXPECTED)?;
            if rate > 0.0 && rate <= 1.0 { Ok(rate) } else { Err(EXPECTED) }
        };
        Ok(match name {
            "clean" => {
                let names: Vec<String> = rest.ok_or(EXPECTED)?.split('+').map(str::to_owned).collect();
                for name in &names {
                    name.parse::<Step>().map_err(|error| format!("\"{name}\": expected {error}"))?;
                }
                Self::Clean(names)
            }
            "filter" if rest.is_none() => Self::Filter,
            "deduplicate" if rest.is_none() => Self::Deduplicate,
            "shuffle-words" => Self::ShuffleWords(rate()?),
            "markup" => Self::Markup(rate()?),
            "garble" => Self::Garble(rate()?),
            "copies" => Self::Copies(rate()?),
            _ => return Err(EXPECTED.into()),
        })
    }

    /// As [`Self::parse`] reads it.
    pub fn name(&self) -> String {
        match self {
            Self::Clean(steps) => format!("clean:{}", steps.join("+")),
            Self::Filter => "filter".into(),
            Self::Deduplicate => "deduplicate".into(),
            Self::ShuffleWords(rate) => format!("shuffle-words:{rate}"),
            Self::Markup(rate) => format!("markup:{rate}"),
            Self::Garble(rate) => format!("garble:{rate}"),
            Self::Copies(rate) => format!("copies:{rate}"),
        }
    }

    fn words(&self) -> String {
        let percent = |rate: &f64| format!("{} %", 100.0 * rate);
        match self {
            Self::Clean(steps) => format!("cleaned by {}", steps.join(", ")),
            Self::Filter => "without what fails the filters".into(),
            Self::Deduplicate => "without exact copies".into(),
            Self::ShuffleWords(rate) => format!("{} of documents with shuffled words", percent(rate)),
            Self::Markup(rate) => format!("{} of documents with markup left in", percent(rate)),
            Self::Garble(rate) => format!("{} of characters wrong", percent(rate)),
            Self::Copies(rate) => format!("{} of documents once more", percent(rate)),
        }
    }
}

/// Plans the study: the base, and an arm a treatment.
///
/// # Errors
/// [`InfluenceError::Study`] without treatments.
pub fn plan(recipe: &Recipe, seeds: &[u64], treatments: &[Treatment]) -> Result<Study, InfluenceError> {
    if treatments.is_empty() {
        return Err(InfluenceError::Study {
            what: "nothing was said to try".into(),
            hint: "give treatments, as --try filter --try deduplicate --try shuffle-words:0.2".into(),
        });
    }
    let arm = |treatment: &Treatment| Arm {
        name: folder_name(&treatment.name()),
        words: treatment.words(),
        change: Change { treatment: Some(treatment.clone()), ..Change::default() },
    };
    let mut arms = vec![Arm::base(false)];
    arms.extend(treatments.iter().map(arm));
    let study = Study { recipe: recipe.clone(), arms, seeds: seeds.to_vec() };
    check(&study)?;
    Ok(study)
}

/// Cuts off what is held out: writes `SOURCE.jsonl` and `held-out/SOURCE.jsonl` into `folder`, and gives the data of a recipe that
/// trains on them. Cleaning that the recipe names has been done then. Where the recipe names domains, they stay.
///
/// # Errors
/// [`InfluenceError::Study`] for pairs, conversations, prepared data, and sources of too few documents.
pub fn split(data: &DataRecipe, folder: &Path) -> Result<DataRecipe, InfluenceError> {
    let refuse = |what: String, hint: &str| Err(InfluenceError::Study { what, hint: hint.into() });
    if data.prepared.is_some() {
        return refuse(
            "prepared tokens cannot be cleaned or made noisy".into(),
            "give a recipe with the text itself: [[data.source]]",
        );
    }
    let mut split = DataRecipe { held_out: data.held_out.clone(), clean: Vec::new(), ..data.clone() };
    for source in &mut split.sources {
        if source.is_pairs() || source.format == RecordFormat::Conversations {
            return refuse(
                format!("the source \"{}\" holds pairs or conversations", source.name),
                "quality is studied on plain text",
            );
        }
        let steps = source.clean.clone().unwrap_or_else(|| data.clean.clone());
        let name = folder_name(&source.name);
        let (kept, aside) = (folder.join(format!("{name}.jsonl")), folder.join(format!("held-out/{name}.jsonl")));
        if !kept.is_file() || (data.held_out.is_empty() && !aside.is_file()) {
            let (mut texts, mut held) = (Vec::new(), Vec::new());
            for text in texts_of(source, data)? {
                let text = text?;
                let Ok(text) = clean(&text, &steps) else { continue };
                let hash = content_hash(&text);
                let draw = f64::from(u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])) / f64::from(u32::MAX);
                let side = if data.held_out.is_empty() && draw < HELD_OUT { &mut held } else { &mut texts };
                side.push(text.into_owned());
            }
            if data.held_out.is_empty() {
                if texts.len() + held.len() < FEWEST || held.is_empty() {
                    return refuse(
                        format!(
                            "the source \"{}\" has {} documents, too few to hold a part of them out",
                            source.name,
                            texts.len() + held.len()
                        ),
                        "name files to hold out: [data.held_out]",
                    );
                }
                write_texts(&aside, held.iter().map(String::as_str))?;
            }
            write_texts(&kept, texts.iter().map(String::as_str))?;
        }
        if data.held_out.is_empty() {
            split.held_out.insert(source.name.clone(), vec![aside.display().to_string()]);
        }
        *source = SourceRecipe {
            weight: source.weight,
            ..SourceRecipe::new(source.name.clone(), vec![kept.display().to_string()])
        };
    }
    Ok(split)
}

/// The data of an arm: the sources' files treated, in `folder`.
pub(super) fn treated(data: &DataRecipe, treatment: &Treatment, folder: &Path) -> Result<DataRecipe, InfluenceError> {
    let mut treated = data.clone();
    for source in &mut treated.sources {
        let path = folder.join(format!("{}.jsonl", folder_name(&source.name)));
        if !path.is_file() {
            let texts = texts_of(source, data)?.collect::<Result<Vec<String>, _>>()?;
            let texts = treat(texts, treatment);
            if texts.is_empty() {
                return Err(InfluenceError::Study {
                    what: format!("nothing of the source \"{}\" is left after {}", source.name, treatment.name()),
                    hint: "leave this treatment away, or this source".into(),
                });
            }
            write_texts(&path, texts.iter().map(String::as_str))?;
        }
        source.path = vec![path.display().to_string()];
    }
    Ok(treated)
}

/// Texts after a treatment.
fn treat(texts: Vec<String>, treatment: &Treatment) -> Vec<String> {
    let filters = Filters::default();
    let mut seen = HashSet::new();
    let mut treated = Vec::with_capacity(texts.len());
    for (number, text) in (0_u64..).zip(texts) {
        let mut draws = Draws { state: number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66 };
        match treatment {
            Treatment::Clean(names) => {
                let steps: Vec<Step> = names.iter().filter_map(|name| name.parse().ok()).collect();
                if let Ok(text) = clean(&text, &steps) {
                    treated.push(text.into_owned());
                }
            }
            Treatment::Filter => {
                let language = identify_language(&text).map_or("en", |found| found.code);
                let judged = filters.apply(&text, Segmentation::of(language));
                if judged.verdict.is_none() {
                    treated.push(judged.text.into_owned());
                }
            }
            Treatment::Deduplicate => {
                if seen.insert(content_hash(&text)) {
                    treated.push(text);
                }
            }
            Treatment::ShuffleWords(rate) => {
                treated.push(if draws.uniform() < *rate { shuffled_words(&text, &mut draws) } else { text });
            }
            Treatment::Markup(rate) => treated.push(if draws.uniform() < *rate { marked_up(&text) } else { text }),
            Treatment::Garble(rate) => treated.push(garbled(&text, *rate, &mut draws)),
            Treatment::Copies(rate) => {
                if draws.uniform() < *rate {
                    treated.push(text.clone());
                }
                treated.push(text);
            }
        }
    }
    treated
}

/// Numbers that follow from a document's place.
struct Draws {
    state: u64,
}

impl Draws {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }
}

/// The words in random order; the space between them stays where it is.
fn shuffled_words(text: &str, draws: &mut Draws) -> String {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    // Text without spaces, as Chinese is written, has its characters shuffled.
    if words.len() < 3 {
        let mut characters: Vec<char> = text.chars().collect();
        for place in (1..characters.len()).rev() {
            characters.swap(place, draws.below(place + 1));
        }
        return characters.into_iter().collect();
    }
    for place in (1..words.len()).rev() {
        words.swap(place, draws.below(place + 1));
    }
    let mut shuffled = String::with_capacity(text.len());
    let mut next = words.into_iter();
    let mut inside = false;
    for character in text.chars() {
        if character.is_whitespace() {
            shuffled.push(character);
            inside = false;
        } else if !inside {
            shuffled.push_str(next.next().unwrap_or_default());
            inside = true;
        }
    }
    shuffled
}

/// As a page looks whose text nobody took out of it.
fn marked_up(text: &str) -> String {
    let mut page = String::from(
        "<div class=\"header\"><ul><li><a href=\"/\">Home</a></li><li><a href=\"/about\">About</a></li><li><a \
         href=\"/contact\">Contact</a></li></ul></div>\n<div class=\"content\">\n",
    );
    for paragraph in text.lines().filter(|line| !line.trim().is_empty()) {
        page.push_str("<p>");
        page.push_str(paragraph);
        page.push_str("</p>\n");
    }
    page.push_str(
        "</div>\n<div class=\"footer\">Share this &middot; Print &middot; &copy; All rights reserved</div>\n",
    );
    page
}

/// With a share of the characters taken from other places of the text.
fn garbled(text: &str, rate: f64, draws: &mut Draws) -> String {
    let characters: Vec<char> = text.chars().collect();
    characters
        .iter()
        .map(|own| if draws.uniform() < rate { characters[draws.below(characters.len())] } else { *own })
        .collect()
}

/// The texts of a source.
fn texts_of(
    source: &SourceRecipe,
    data: &DataRecipe,
) -> Result<impl Iterator<Item = Result<String, InfluenceError>>, InfluenceError> {
    let split = match &source.split {
        Split::Auto => loam_corpus::Split::Auto,
        Split::File => loam_corpus::Split::File,
        Split::Line => loam_corpus::Split::Line,
        Split::Paragraph => loam_corpus::Split::Paragraph,
        Split::Separator(text) => loam_corpus::Split::Separator(text.clone()),
    };
    let options =
        ReadOptions { text_field: source.text_field.clone(), split, bytes: data.bytes, ..ReadOptions::default() };
    let files: Vec<PathBuf> = find_files(&source.path)?.files;
    Ok(Documents::new(files, options).map(|document| Ok(document?.text)))
}

/// Writes texts as JSON lines, aside and renamed.
fn write_texts<'a>(path: &Path, texts: impl Iterator<Item = &'a str>) -> Result<(), InfluenceError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let aside = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut file = BufWriter::new(fs::File::create(&aside)?);
        for text in texts {
            serde_json::to_writer(&mut file, &serde_json::json!({ "text": text }))?;
            file.write_all(b"\n")?;
        }
        file.into_inner()?.sync_all()?;
        fs::rename(&aside, path)
    };
    write().map_err(|source| unwritten(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn treatments_are_read_and_written_alike() {
        for text in [
            "clean:mojibake+control",
            "filter",
            "deduplicate",
            "shuffle-words:0.25",
            "markup:1",
            "garble:0.05",
            "copies:0.5",
        ] {
            assert_eq!(Treatment::parse(text).unwrap().name(), text);
        }
        for text in
            ["", "clean", "clean:washed", "filter:1", "garble", "garble:2", "garble:x", "copies:-1", "copies:nan"]
        {
            assert!(Treatment::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn noise_comes_at_its_rate() {
        let texts: Vec<String> =
            (0..2000).map(|number| format!("one two three four five six number{number}\nlast line")).collect();
        let changed = |treatment: Treatment| {
            let treated = treat(texts.clone(), &treatment);
            assert_eq!(treated, treat(texts.clone(), &treatment), "drawn alike each time");
            treated
        };
        let differ = |treated: &[String]| treated.iter().zip(&texts).filter(|(new, old)| new != old).count();
        let shuffled = changed(Treatment::ShuffleWords(0.3));
        assert!((500..700).contains(&differ(&shuffled)), "{}", differ(&shuffled));
        let sorted = |text: &str| {
            let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            words.sort();
            words
        };
        assert!(shuffled.iter().zip(&texts).all(|(new, old)| sorted(new) == sorted(old) && new.lines().count() == 2));
        assert!((900..1100).contains(&differ(&changed(Treatment::Markup(0.5)))));
        assert!((2800..3200).contains(&changed(Treatment::Copies(0.5)).len()));
        let garbled = changed(Treatment::Garble(0.1));
        let wrong: usize = garbled
            .iter()
            .zip(&texts)
            .map(|(new, old)| new.chars().zip(old.chars()).filter(|(a, b)| a != b).count())
            .sum();
        let all: usize = texts.iter().map(|text| text.chars().count()).sum();
        assert!((0.07..0.1).contains(&(wrong as f64 / all as f64)), "{wrong} of {all}");
        let twice: Vec<String> = texts.iter().chain(&texts).cloned().collect();
        assert_eq!(treat(twice, &Treatment::Deduplicate), texts);
        assert_eq!(treat(vec!["<b>x</b>".into()], &Treatment::Clean(vec!["strip_tags".into()]))[0].trim(), "x");
        assert_ne!(treat(vec!["没有空格的中文".into()], &Treatment::ShuffleWords(1.0))[0], "没有空格的中文");
    }
}
