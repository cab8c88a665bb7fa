//! Choosing the next token from logits, and knowing when the text has come to a stop string.
//!
//! The filters and their order are those of Hugging Face transformers, so that settings carry over: repetition
//! penalty, temperature, top-k, top-p, min-p, then a draw from what is left.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How the next token is chosen. The default draws from the model's own distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingOptions {
    /// Divides the logits: below 1 is bolder, above 1 more adventurous; 0 always takes the likeliest token.
    pub temperature: f32,
    /// Keeps the k likeliest tokens, and those equal to the last of them (Fan et al. 2018); 0 is off.
    pub top_k: usize,
    /// Keeps the fewest likeliest tokens whose probabilities reach this sum (nucleus sampling, Holtzman et al.
    /// 2020); 1 is off.
    pub top_p: f32,
    /// Drops tokens less probable than this times the likeliest (Nguyen et al. 2024); 0 is off.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens already in the history (CTRL, Keskar et al. 2019,
    /// section 4.1; for negative logits as transformers does it); 1 is off.
    pub repetition_penalty: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        SamplingOptions { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: 0 }
    }
}

/// An option outside its range.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{option} = {value} is out of range: {expected}")]
pub struct SamplingError {
    /// Name of the option.
    pub option: &'static str,
    /// What it was set to.
    pub value: f32,
    /// What it may be, in words.
    pub expected: &'static str,
}

impl SamplingOptions {
    /// Checks that every option is within its range.
    pub fn validate(&self) -> Result<(), SamplingError> {
        let check = |good: bool, option, value, expected| {
            if good { Ok(()) } else { Err(SamplingError { option, value, expected }) }
        };
        check(
            self.temperature.is_finite() && self.temperature >= 0.0,
            "temperature",
            self.temperature,
            "0 (always the likeliest token) or a positive number, usually 0.7 to 1",
        )?;
        check(
            self.top_p > 0.0 && self.top_p <= 1.0,
            "top_p",
            self.top_p,
            "above 0 and at most 1 (1 keeps all tokens; for the likeliest alone use temperature = 0)",
        )?;
        check((0.0..=1.0).contains(&self.min_p), "min_p", self.min_p, "0 (off) to 1")?;
        check(
            self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0,
            "repetition_penalty",
            self.repetition_penalty,
            "a positive number; 1 is off, 1.1 to 1.3 is usual",
        )
    }
}

/// Chooses tokens one after another. The same options and logits give the same tokens.
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SamplingOptions,
    generator: Generator,
    /// Tokens still in play with their scores; kept between calls to spare the allocation.
    candidates: Vec<Candidate>,
}

/// A token with its logit, and later its unnormalized probability.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    token: u32,
    score: f64,
}

/// Likeliest first; of equals, the lower id first.
fn descending(left: &Candidate, right: &Candidate) -> std::cmp::Ordering {
    right.score.total_cmp(&left.score).then(left.token.cmp(&right.token))
}

impl Sampler {
    /// A sampler at the start of its sequence of draws. Fails as [`SamplingOptions::validate`] does.
    pub fn new(options: SamplingOptions) -> Result<Sampler, SamplingError> {
        options.validate()?;
        let generator = Generator::new(options.seed);
        Ok(Sampler { options, generator, candidates: Vec::new() })
    }

    /// The options that the sampler was made with.
    pub fn options(&self) -> &SamplingOptions {
        &self.options
    }

    /// Chooses the next token from one row of logits `[vocabulary]`, in nats up to a constant.
    ///
    /// `history` holds the tokens so far, the prompt included; only the repetition penalty looks at it. A NaN counts
    /// as −∞, and a logit of +∞ shuts out every finite one. When no logit is above −∞, the answer is token 0. One
    /// number is drawn a call, none when greedy.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> u32 {
        self.filter(logits, history);
        if self.candidates.len() <= 1 || self.options.temperature == 0.0 {
            if self.options.temperature != 0.0 {
                self.generator.uniform();
            }
            return self.candidates.first().map_or(0, |candidate| candidate.token);
        }
        let total: f64 = self.candidates.iter().map(|candidate| candidate.score).sum();
        let mut left = self.generator.uniform() * total;
        for candidate in &self.candidates {
            left -= candidate.score;
            if left < 0.0 {
                return candidate.token;
            }
        }
        // Rounding may leave a crumb; the likeliest token can take it.
        self.candidates.iter().copied().min_by(descending).map_or(0, |candidate| candidate.token)
    }

    /// Leaves in `candidates` the tokens that may be drawn, scored with unnormalized probabilities.
    fn filter(&mut self, logits: &[f32], history: &[u32]) {
        let SamplingOptions { temperature, top_k, top_p, min_p, repetition_penalty, .. } = self.options;
        let candidates = &mut self.candidates;
        candidates.clear();
        candidates.extend(logits.iter().enumerate().map(|(token, &logit)| Candidate {
            token: token as u32,
            score: if logit.is_nan() { f64::NEG_INFINITY } else { f64::from(logit) },
        }));
        if repetition_penalty != 1.0 {
            let mut seen: Vec<u32> = history.iter().copied().filter(|&token| (token as usize) < logits.len()).collect();
            seen.sort_unstable();
            seen.dedup();
            let penalty = f64::from(repetition_penalty);
            for token in seen {
                let score = &mut candidates[token as usize].score;
                *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
            }
        }
        candidates.retain(|candidate| candidate.score > f64::NEG_INFINITY);
        let Some(&best) = candidates.iter().min_by(|left, right| descending(left, right)) else { return };
        if temperature == 0.0 {
            candidates.clear();
            candidates.push(best);
            return;
        }
        if top_k > 0 && top_k < candidates.len() {
            let (_, last, _) = candidates.select_nth_unstable_by(top_k - 1, descending);
            let threshold = last.score;
            candidates.retain(|candidate| candidate.score >= threshold);
            // The selection's order is not promised to stay the same from one Rust to the next.
            candidates.sort_unstable_by_key(|candidate| candidate.token);
        }
        if best.score == f64::INFINITY {
            candidates.retain(|candidate| candidate.score == f64::INFINITY);
            for candidate in &mut *candidates {
                candidate.score = 1.0;
            }
        } else {
            // The maximum goes before the division, so that a tiny temperature cannot overflow.
            for candidate in &mut *candidates {
                candidate.score = ((candidate.score - best.score) / f64::from(temperature)).exp();
            }
        }
        if top_p < 1.0 {
            keep_nucleus(candidates, f64::from(top_p));
        }
        // The likeliest token now has score 1.
        candidates.retain(|candidate| candidate.score > 0.0 && candidate.score >= f64::from(min_p));
    }
}

/// Keeps the shortest run of likeliest candidates whose share of the mass reaches `top_p`, likeliest first.
fn keep_nucleus(candidates: &mut Vec<Candidate>, top_p: f64) {
    let enough = top_p * candidates.iter().map(|candidate| candidate.score).sum::<f64>();
    // The nucleus is usually a small part of the vocabulary: sort a head, and a longer one only if it falls short.
    let mut head = 128;
    loop {
        head = head.min(candidates.len());
        if head < candidates.len() {
            candidates.select_nth_unstable_by(head, descending);
        }
        candidates[..head].sort_unstable_by(descending);
        let mut mass = 0.0;
        let nucleus = candidates[..head].iter().position(|candidate| {
            mass += candidate.score;
            mass >= enough
        });
        match nucleus {
            Some(last) => return candidates.truncate(last + 1),
            None if head == candidates.len() => return,
            None => head *= 4,
        }
    }
}

/// xoshiro256++ 1.0 (Blackman & Vigna, *Scrambled linear pseudorandom number generators*, 2021), its state filled
/// by `SplitMix64` as its authors advise.
#[derive(Clone, Debug)]
struct Generator([u64; 4]);

impl Generator {
    fn new(seed: u64) -> Generator {
        let mut counter = seed;
        Generator(std::array::from_fn(|_| {
            counter = counter.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (counter ^ (counter >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        }))
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Uniform in [0, 1), a multiple of 2⁻⁵³.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Watches streamed text for stop strings.
///
/// Text that might be the beginning of a stop string is held back until it is decided, so nothing of a stop string is
/// ever shown. The outcome does not depend on how the text was cut into pieces: the stop string that is complete
/// first wins, of several the longest.
#[derive(Clone, Debug, Default)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

/// What to do after a piece of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emit {
    /// Text to show now; may be empty.
    pub text: String,
    /// Whether a stop string is complete; it and what follows it are not shown.
    pub stopped: bool,
}

impl StopMatcher {
    /// Watches for any of these strings; empty ones are left out.
    pub fn new(stops: impl IntoIterator<Item = impl Into<String>>) -> StopMatcher {
        let stops = stops.into_iter().map(Into::into).filter(|stop: &String| !stop.is_empty()).collect();
        StopMatcher { stops, ..StopMatcher::default() }
    }

    /// Takes the next piece of text. After the stop everything is swallowed.
    pub fn push(&mut self, piece: &str) -> Emit {
        if self.stopped {
            return Emit { text: String::new(), stopped: true };
        }
        self.held.push_str(piece);
        let found = self.stops.iter().filter_map(|stop| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start))
        });
        if let Some((_, start)) = found.min() {
            self.stopped = true;
            let mut text = std::mem::take(&mut self.held);
            text.truncate(start);
            return Emit { text, stopped: true };
        }
        let undecided = self.held.char_indices().map(|(start, _)| start).find(|&start| {
            let suffix = &self.held[start..];
            self.stops.iter().any(|stop| stop.starts_with(suffix))
        });
        let kept = self.held.split_off(undecided.unwrap_or(self.held.len()));
        Emit { text: std::mem::replace(&mut self.held, kept), stopped: false }
    }

    /// The text still held back when the stream ends without a stop string.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn sampler(change: impl FnOnce(&mut SamplingOptions)) -> Sampler {
        let mut options = SamplingOptions::default();
        change(&mut options);
        Sampler::new(options).unwrap()
    }

    /// Probability of every token as transformers computes it, by full sorts over the whole vocabulary.
    fn reference(options: &SamplingOptions, logits: &[f32], history: &[u32]) -> Vec<f64> {
        let mut scores: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
        for (token, score) in scores.iter_mut().enumerate() {
            if history.contains(&(token as u32)) {
                let penalty = f64::from(options.repetition_penalty);
                *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
            }
            *score /= f64::from(options.temperature);
        }
        let softmax = |scores: &[f64]| -> Vec<f64> {
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|score| (score - most).exp()).sum();
            scores.iter().map(|score| (score - most).exp() / total).collect()
        };
        if options.top_k > 0 {
            let mut sorted = scores.clone();
            sorted.sort_by(f64::total_cmp);
            let threshold = sorted[sorted.len().saturating_sub(options.top_k)];
            scores.iter_mut().filter(|score| **score < threshold).for_each(|score| *score = f64::NEG_INFINITY);
        }
        if options.top_p < 1.0 {
            let probabilities = softmax(&scores);
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&left, &right| probabilities[left].total_cmp(&probabilities[right]).then(right.cmp(&left)));
            let mut cumulative = 0.0;
            for &token in &order[..order.len() - 1] {
                cumulative += probabilities[token];
                if cumulative <= 1.0 - f64::from(options.top_p) {
                    scores[token] = f64::NEG_INFINITY;
                }
            }
        }
        let probabilities = softmax(&scores);
        let most = probabilities.iter().copied().fold(0.0, f64::max);
        for (score, probability) in scores.iter_mut().zip(&probabilities) {
            if *probability < f64::from(options.min_p) * most {
                *score = f64::NEG_INFINITY;
            }
        }
        softmax(&scores)
    }

    #[test]
    fn filters_equal_the_reference() {
        let mut generator = Generator::new(3);
        for trial in 0..400 {
            let vocabulary = 2 + generator.next() as usize % if trial % 10 == 0 { 2000 } else { 40 };
            let logits: Vec<f32> = (0..vocabulary).map(|_| (generator.uniform() * 12.0 - 6.0) as f32).collect();
            let history: Vec<u32> = (0..5).map(|_| generator.next() as u32 % (vocabulary as u32 + 3)).collect();
            let mut pick = |off: f32, low: f64, high: f64| {
                if generator.uniform() < 0.4 { off } else { (low + generator.uniform() * (high - low)) as f32 }
            };
            let options = SamplingOptions {
                temperature: pick(1.0, 0.1, 3.0),
                top_k: pick(0.0, 1.0, 30.0) as usize,
                top_p: pick(1.0, 0.05, 0.99),
                min_p: pick(0.0, 0.01, 0.9),
                repetition_penalty: pick(1.0, 0.5, 2.0),
                seed: 0,
            };
            let expected = reference(&options, &logits, &history);
            let mut sampler = Sampler::new(options.clone()).unwrap();
            sampler.filter(&logits, &history);
            let mut got = vec![0.0; vocabulary];
            let total: f64 = sampler.candidates.iter().map(|candidate| candidate.score).sum();
            for candidate in &sampler.candidates {
                got[candidate.token as usize] = candidate.score / total;
            }
            for (token, (got, expected)) in got.iter().zip(&expected).enumerate() {
                assert!((got - expected).abs() < 1e-9, "{options:?}: token {token} has {got}, not {expected}");
            }
        }
    }

    #[test]
    fn draws_follow_the_distribution() {
        let logits = [1.0, 0.0, -1.0, 2.0, f32::NEG_INFINITY, f32::NAN];
        let mut sampler = sampler(|options| options.temperature = 0.8);
        let draws = 100_000;
        let mut counts = HashMap::new();
        for _ in 0..draws {
            *counts.entry(sampler.sample(&logits, &[])).or_insert(0_u32) += 1;
        }
        let expected = reference(sampler.options(), &logits[..4], &[]);
        assert_eq!(counts.len(), 4);
        for (token, probability) in expected.iter().enumerate() {
            let share = f64::from(counts[&(token as u32)]) / f64::from(draws);
            let deviation = (probability * (1.0 - probability) / f64::from(draws)).sqrt();
            assert!((share - probability).abs() < 5.0 * deviation, "token {token}: {share}, not {probability}");
        }
    }

    #[test]
    fn one_seed_one_sequence() {
        let logits: Vec<f32> = (0..50).map(|token| (token as f32 * 0.37).sin()).collect();
        let draw = |seed| -> Vec<u32> {
            let mut sampler = sampler(|options| options.seed = seed);
            (0..40).map(|_| sampler.sample(&logits, &[])).collect()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        // First outputs of the published generators: SplitMix64 from 0, and xoshiro256++ from the state 1, 2, 3, 4.
        assert_eq!(Generator::new(0).0[0], 0xE220_A839_7B1D_CDAF);
        let mut generator = Generator([1, 2, 3, 4]);
        assert_eq!([generator.next(), generator.next()], [41_943_041, 58_720_359]);
    }

    #[test]
    fn greedy_takes_the_likeliest() {
        let mut greedy = sampler(|options| options.temperature = 0.0);
        assert_eq!(greedy.sample(&[0.5, 2.0, 2.0, -1.0], &[]), 1);
        assert_eq!(greedy.sample(&[f32::NAN, -3.0, f32::NEG_INFINITY], &[]), 1);
        let mut penalized = sampler(|options| {
            options.temperature = 0.0;
            options.repetition_penalty = 3.0;
        });
        assert_eq!(penalized.sample(&[2.0, 1.0], &[0, 0, 9]), 1);
        assert_eq!(penalized.sample(&[-1.0, -2.0], &[0]), 1);
    }

    #[test]
    fn strange_logits_are_survived() {
        let all = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, f32::MAX, f32::MIN];
        for change in [
            |_: &mut SamplingOptions| (),
            |options: &mut SamplingOptions| options.top_k = 2,
            |options: &mut SamplingOptions| options.top_p = 1e-6,
            |options: &mut SamplingOptions| options.min_p = 1.0,
            |options: &mut SamplingOptions| options.repetition_penalty = f32::MAX,
            |options: &mut SamplingOptions| options.temperature = f32::MIN_POSITIVE,
            |options: &mut SamplingOptions| options.temperature = f32::MAX,
            |options: &mut SamplingOptions| options.temperature = 0.0,
        ] {
            let mut sampler = sampler(change);
            for first in all {
                assert_eq!(sampler.sample(&[], &[1]), 0);
                for second in all {
                    let logits = [first, second];
                    let token = sampler.sample(&logits, &[0, 1, 7]) as usize;
                    assert!(token < 2);
                    let usable = |logit: f32| logit > f32::NEG_INFINITY;
                    assert!(usable(logits[token]) || !usable(first) && !usable(second), "{logits:?} gave {token}");
                }
            }
        }
        assert_eq!(sampler(|_| ()).sample(&[f32::MAX, f32::INFINITY, 3.0], &[]), 1);
    }

    #[test]
    fn ranges() {
        let error = |change: fn(&mut SamplingOptions)| {
            let mut options = SamplingOptions::default();
            change(&mut options);
            options.validate().unwrap_err().to_string()
        };
        assert!(error(|options| options.temperature = -1.0).starts_with("temperature = -1 is out of range: 0 "));
        assert!(error(|options| options.temperature = f32::NAN).contains("temperature"));
        assert!(error(|options| options.top_p = 0.0).contains("temperature = 0"));
        assert!(error(|options| options.top_p = 1.5).contains("top_p = 1.5"));
        assert!(error(|options| options.min_p = -0.1).contains("min_p"));
        assert!(error(|options| options.repetition_penalty = 0.0).contains("positive"));
        assert!(SamplingOptions::default().validate().is_ok());
        let read: SamplingOptions = serde_json::from_str(r#"{"top_k":40,"temperature":0.7}"#).unwrap();
        assert_eq!(read, SamplingOptions { top_k: 40, temperature: 0.7, ..SamplingOptions::default() });
    }

    /// What whole-text matching would show: the text before the stop string that ends first.
    fn shown(text: &str, stops: &[&str]) -> (String, bool) {
        let ends = stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| {
            let start = text.find(stop)?;
            Some((start + stop.len(), start))
        });
        ends.min().map_or((text.to_owned(), false), |(_, start)| (text[..start].to_owned(), true))
    }

    #[test]
    fn stop_strings_across_pieces() {
        let alphabet: Vec<char> = "ab土é\n".chars().collect();
        let mut generator = Generator::new(11);
        let mut word = |longest: u64| -> String {
            let length = generator.next() % (longest + 1);
            (0..length).map(|_| alphabet[generator.next() as usize % alphabet.len()]).collect()
        };
        let mut stopped = 0;
        for _ in 0..3000 {
            let stops: Vec<String> = (0..3).map(|_| word(4)).collect();
            let pieces: Vec<String> = (0..8).map(|_| word(3)).collect();
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let mut matcher = StopMatcher::new(stops.iter().copied());
            let mut got = (String::new(), false);
            for piece in &pieces {
                let emit = matcher.push(piece);
                got.0.push_str(&emit.text);
                got.1 = emit.stopped;
            }
            got.0.push_str(&matcher.finish());
            assert_eq!(got, shown(&pieces.concat(), &stops), "{pieces:?} with {stops:?}");
            stopped += u32::from(got.1);
        }
        assert!((500..2900).contains(&stopped), "{stopped}");
    }

    #[test]
    fn holds_back_no_more_than_needed() {
        let mut matcher = StopMatcher::new(["</s>", "土壤"]);
        let mut push = |piece: &str| matcher.push(piece).text;
        assert_eq!(push("soil"), "soil");
        assert_eq!(push(" <"), " ");
        assert_eq!(push("/"), "");
        assert_eq!(push("p> 土"), "</p> ");
        assert_eq!(push("地"), "土地");
        assert_eq!(matcher.push("土壤 x"), Emit { text: String::new(), stopped: true });
        assert_eq!(matcher.push("more"), Emit { text: String::new(), stopped: true });
        assert_eq!(matcher.finish(), "");
        assert_eq!(StopMatcher::new([""; 2]).push("text").text, "text");
    }
}
