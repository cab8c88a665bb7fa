//! Which language a text is in.
//!
//! By `whatlang`: trigrams of letters for 70 languages, scripts for the rest. Of long texts a sample is looked at, from three
//! places, since a page's first lines are often in another language than its text.

use std::path::Path;

use whatlang::Lang;

use crate::error::CorpusError;
use crate::fasttext::FastText;

/// A text of more bytes is judged by three parts of this many in all.
const SAMPLE: usize = 1500;

/// ISO 639-1 codes of the languages that `whatlang` names by those of ISO 639-3.
const CODES: [(&str, &str); 70] = [
    ("epo", "eo"),
    ("eng", "en"),
    ("rus", "ru"),
    ("cmn", "zh"),
    ("spa", "es"),
    ("por", "pt"),
    ("ita", "it"),
    ("ben", "bn"),
    ("fra", "fr"),
    ("deu", "de"),
    ("ukr", "uk"),
    ("kat", "ka"),
    ("ara", "ar"),
    ("hin", "hi"),
    ("jpn", "ja"),
    ("heb", "he"),
    ("yid", "yi"),
    ("pol", "pl"),
    ("amh", "am"),
    ("jav", "jv"),
    ("kor", "ko"),
    ("nob", "nb"),
    ("dan", "da"),
    ("swe", "sv"),
    ("fin", "fi"),
    ("tur", "tr"),
    ("nld", "nl"),
    ("hun", "hu"),
    ("ces", "cs"),
    ("ell", "el"),
    ("bul", "bg"),
    ("bel", "be"),
    ("mar", "mr"),
    ("kan", "kn"),
    ("ron", "ro"),
    ("slv", "sl"),
    ("hrv", "hr"),
    ("srp", "sr"),
    ("mkd", "mk"),
    ("lit", "lt"),
    ("lav", "lv"),
    ("est", "et"),
    ("tam", "ta"),
    ("vie", "vi"),
    ("urd", "ur"),
    ("tha", "th"),
    ("guj", "gu"),
    ("uzb", "uz"),
    ("pan", "pa"),
    ("aze", "az"),
    ("ind", "id"),
    ("tel", "te"),
    ("pes", "fa"),
    ("mal", "ml"),
    ("ori", "or"),
    ("mya", "my"),
    ("nep", "ne"),
    ("sin", "si"),
    ("khm", "km"),
    ("tuk", "tk"),
    ("aka", "ak"),
    ("zul", "zu"),
    ("sna", "sn"),
    ("afr", "af"),
    ("lat", "la"),
    ("slk", "sk"),
    ("cat", "ca"),
    ("tgl", "tl"),
    ("hye", "hy"),
    ("cym", "cy"),
];

/// What a text's language is taken for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Identified {
    /// Its code: of ISO 639-1 (`en`, `zh`).
    pub code: &'static str,
    /// From 0, a guess, to 1.
    pub confidence: f64,
}

/// What tells languages.
pub(crate) enum Identifier {
    /// [`identify_language`].
    BuiltIn,
    /// A model of fastText, whose labels are the codes.
    Model(Box<FastText>),
}

impl Identifier {
    /// A model's, or the built-in one. Refuses languages to keep that it does not tell.
    pub(crate) fn open(model: Option<&Path>, keep: &[String]) -> Result<Self, CorpusError> {
        let identifier = match model {
            Some(path) => Self::Model(Box::new(FastText::open(path)?)),
            None => Self::BuiltIn,
        };
        for code in keep {
            match &identifier {
                Self::BuiltIn if !language_codes().any(|known| known == code) => {
                    let codes: Vec<&str> = language_codes().collect();
                    let hint = format!("there are {}", codes.join(", "));
                    return Err(CorpusError::invalid(format!("no language \"{code}\""), hint));
                }
                Self::Model(known) if !known.labels().any(|label| label == code) => {
                    return Err(known.no_label("language", code));
                }
                _ => {}
            }
        }
        Ok(identifier)
    }

    /// The code of a text's language, and how sure it is, from 0 to 1.
    pub(crate) fn identify(&self, text: &str) -> Option<(&str, f64)> {
        match self {
            Self::BuiltIn => identify_language(text).map(|found| (found.code, found.confidence)),
            Self::Model(model) => {
                let (label, probability) = model.best(text)?;
                Some((model.labels().nth(label)?, f64::from(probability)))
            }
        }
    }
}

/// The codes that can be told.
pub fn language_codes() -> impl Iterator<Item = &'static str> {
    CODES.iter().map(|(_, code)| *code)
}

/// The language of a text; none of a text without letters.
pub fn identify_language(text: &str) -> Option<Identified> {
    let sampled;
    let text = if text.len() > SAMPLE {
        sampled = sample(text);
        &sampled
    } else {
        text
    };
    let found = whatlang::detect(text)?;
    Some(Identified { code: code(found.lang()), confidence: found.confidence() })
}

fn code(language: Lang) -> &'static str {
    let long = language.code();
    CODES.iter().find(|(known, _)| *known == long).map_or(long, |(_, short)| *short)
}

/// Parts from the first, the middle, and the last third.
fn sample(text: &str) -> String {
    let part = SAMPLE / 3;
    let mut sample = String::with_capacity(SAMPLE + 16);
    for third in 0..3 {
        let start = text.ceil_char_boundary(third * text.len() / 3 + (text.len() / 3 - part) / 2);
        let end = text.floor_char_boundary(start + part);
        sample.push_str(&text[start..end.max(start)]);
        sample.push('\n');
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_apart() {
        for (code, text) in [
            ("en", "The quick brown fox jumps over the lazy dog, and nobody has ever said why it should do so."),
            ("zh", "此开卷第一回也。作者自云：曾历过一番梦幻之后，故将真事隐去，而借通灵说此《石头记》一书也。"),
            (
                "de",
                "Der schnelle braune Fuchs springt über den faulen Hund, und niemand weiß, warum er das tun sollte.",
            ),
            ("ja", "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"),
            (
                "ru",
                "Он вышел из дома рано утром и долго шёл по пыльной дороге, думая о том, что было бы, если бы мы вернулись.",
            ),
        ] {
            assert_eq!(identify_language(text).unwrap().code, code);
            assert_eq!(identify_language(&text.repeat(200)).unwrap().code, code, "sampled");
        }
        assert_eq!(identify_language("12 34 !!"), None);
        assert_eq!(identify_language(""), None);
    }

    #[test]
    fn every_language_has_a_code() {
        for language in Lang::all() {
            assert!(CODES.iter().any(|(long, _)| *long == language.code()), "{}", language.code());
        }
    }
}
