//! Beam search (Graves 2012; Sutskever et al. 2014): of all that could follow, the few most probable texts are kept.
//!
//! Choices, scores and the end of the search are those of Hugging Face transformers' `generate(num_beams=…)`.

use super::{Decoder, Finish, Rules, check_prompts};
use crate::error::ModelError;

/// How the sum of a text's log-probabilities becomes its score, so that longer texts are not always worse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LengthPenalty {
    /// sum / length^α, as in transformers; 0 is none, 1 the mean.
    Power(f64),
    /// sum / ((5 + length) / 6)^α (Wu et al. 2016, equation 14); 0.6 to 0.7 in the paper.
    Wu(f64),
}

impl LengthPenalty {
    fn divisor(self, length: usize) -> f64 {
        match self {
            Self::Power(alpha) => (length as f64).powf(alpha),
            Self::Wu(alpha) => ((5.0 + length as f64) / 6.0).powf(alpha),
        }
    }

    fn alpha(self) -> f64 {
        match self {
            Self::Power(alpha) | Self::Wu(alpha) => alpha,
        }
    }
}

/// When the search for better texts ends, once as many have ended as there are beams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlyStopping {
    /// When the best open beam would not be better, ended as it is: transformers' `False`.
    #[default]
    Estimate,
    /// At once: transformers' `True`.
    AtOnce,
    /// When no open beam can become better: transformers' `"never"`.
    Never,
}

/// How to search.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamOptions {
    /// Tokens to write at most.
    pub max_new_tokens: usize,
    /// Texts that are kept at a time.
    pub beams: usize,
    /// Texts that come back, at most as many as beams.
    pub n_best: usize,
    /// What makes scores of texts of different lengths comparable.
    pub length_penalty: LengthPenalty,
    /// When the search ends.
    pub early_stopping: EarlyStopping,
    /// What may not come next.
    pub rules: Rules,
    /// Tokens that end the text.
    pub ends: Vec<u32>,
}

impl BeamOptions {
    /// So many beams, the best text alone, and transformers' defaults.
    pub fn new(beams: usize, max_new_tokens: usize) -> Self {
        Self {
            max_new_tokens,
            beams,
            n_best: 1,
            length_penalty: LengthPenalty::Power(1.0),
            early_stopping: EarlyStopping::default(),
            rules: Rules::default(),
            ends: Vec::new(),
        }
    }

    fn check(&self, vocabulary: usize) -> Result<(), ModelError> {
        self.rules.check(vocabulary)?;
        let complain = |reason: String| Err(ModelError::Request(reason));
        if self.beams == 0 || self.beams > MOST_BEAMS {
            return complain(format!("beams = {} is out of range: 1 to {MOST_BEAMS}", self.beams));
        }
        if self.beams * self.candidates_each() > self.beams * vocabulary {
            return complain(format!("{} beams are too many for a vocabulary of {vocabulary}", self.beams));
        }
        if self.n_best == 0 || self.n_best > self.beams {
            return complain(format!("n_best = {} is out of range: 1 to the {} beams", self.n_best, self.beams));
        }
        if !self.length_penalty.alpha().is_finite() {
            return complain("length_penalty is not a finite number; 1 is usual, 0 none".into());
        }
        Ok(())
    }

    /// Continuations kept for each beam: enough that some go on where all the others end.
    fn candidates_each(&self) -> usize {
        (1 + self.ends.len()).max(2)
    }
}

/// Each beam holds a row of the batch and of the cache.
const MOST_BEAMS: usize = 1024;

/// A text that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// The new tokens, without the one that ends the text.
    pub tokens: Vec<u32>,
    /// The sum of their log-probabilities under the rules, that of the end included, in nats, over the length penalty.
    pub score: f64,
    /// Why there are no more.
    pub finish: Finish,
}

/// A score that nothing reaches: what has none yet.
const NOTHING: f64 = -1e9;

/// A beam's new tokens with the sum of their log-probabilities.
#[derive(Clone, Debug)]
struct Beam {
    tokens: Vec<u32>,
    sum: f64,
}

/// A continuation of a beam.
struct Candidate {
    beam: usize,
    token: u32,
    sum: f64,
    ends: bool,
}

/// A text that has ended, or a place for one.
#[derive(Clone)]
struct Ended {
    hypothesis: Hypothesis,
    there: bool,
}

/// The search from one prompt.
struct Search {
    number: usize,
    running: Vec<Beam>,
    ended: Vec<Ended>,
    /// Whether an open beam may still be better than what has ended.
    improvable: bool,
}

/// The most probable continuations of every prompt, each prompt's best first.
///
/// # Errors
/// When a prompt is empty, longer than the model's context, or holds ids that the model has not; when an option is out of
/// its range.
pub fn search<D: Decoder>(
    decoder: &D,
    prompts: &[&[u32]],
    options: &BeamOptions,
) -> Result<Vec<Vec<Hypothesis>>, ModelError> {
    check_prompts(decoder, prompts)?;
    options.check(decoder.vocabulary())?;
    let longest = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
    // The last token is not read.
    let allowance = options.max_new_tokens.min(decoder.context().saturating_sub(longest).saturating_add(1));
    let mut found = vec![Vec::new(); prompts.len()];
    if allowance == 0 || prompts.is_empty() {
        let empty = Hypothesis { tokens: Vec::new(), score: 0.0, finish: Finish::Length };
        return Ok(vec![vec![empty]; prompts.len()]);
    }
    let beams = options.beams;
    let mut searches: Vec<Search> = (0..prompts.len()).map(|number| Search::new(number, options)).collect();
    let numbers: Vec<usize> = (0..prompts.len()).collect();
    let (mut state, mut logits) = decoder.begin(&numbers, prompts);
    // The prompt is read once; its beams share what was read until they part.
    let mut rows_of: Vec<usize> = numbers.iter().flat_map(|&number| std::iter::repeat_n(number, beams)).collect();
    let mut shared = true;
    for length in 1..=allowance {
        let (mut rows, mut tokens, mut open) = (Vec::new(), Vec::new(), Vec::new());
        for (place, mut search) in searches.into_iter().enumerate() {
            let row = |beam: usize| if shared { rows_of[place * beams] } else { place * beams + beam };
            let prompt = prompts[search.number];
            let scores = |beam: usize| logits.row(row(beam));
            let parents = search.step(prompt, scores, options, length, allowance);
            if parents.is_empty() {
                let number = search.number;
                found[number] = search.best(options);
                continue;
            }
            rows.extend(parents.iter().map(|&beam| row(beam)));
            tokens.extend(search.running.iter().filter_map(|beam| beam.tokens.last().copied()));
            open.push(search);
        }
        searches = open;
        if searches.is_empty() {
            break;
        }
        let in_place =
            !shared && rows.len() == rows_of.len() && rows.iter().enumerate().all(|(place, &row)| place == row);
        if !in_place {
            decoder.select(&mut state, &rows);
        }
        shared = false;
        rows_of = rows;
        logits = decoder.step(&tokens, &mut state);
    }
    Ok(found)
}

impl Search {
    fn new(number: usize, options: &BeamOptions) -> Self {
        // The first tokens come from the first beam alone, else all beams would be the same.
        let sum = |beam: usize| if beam == 0 { 0.0 } else { NOTHING };
        let nothing = Hypothesis { tokens: Vec::new(), score: NOTHING, finish: Finish::Length };
        Self {
            number,
            running: (0..options.beams).map(|beam| Beam { tokens: Vec::new(), sum: sum(beam) }).collect(),
            ended: vec![Ended { hypothesis: nothing, there: false }; options.beams],
            improvable: true,
        }
    }

    /// Makes every beam one token longer, to `length` new ones; the beams that the new ones come from, or none where the
    /// search is over.
    fn step<'a>(
        &mut self,
        prompt: &[u32],
        logits: impl Fn(usize) -> &'a [f32],
        options: &BeamOptions,
        length: usize,
        allowance: usize,
    ) -> Vec<usize> {
        let candidates = self.candidates(prompt, logits, options, length == allowance);
        let all_end = candidates.iter().all(|candidate| candidate.ends);
        let full = self.ended.iter().all(|ended| ended.there);
        if self.improvable && !(full && options.early_stopping == EarlyStopping::AtOnce) {
            self.end(&candidates, options, length);
        }
        let (mut running, mut parents) = (Vec::new(), Vec::new());
        // Those that have ended only where there is nothing else, as with the first beam of a small vocabulary.
        let open = candidates.iter().filter(|candidate| !candidate.ends);
        for candidate in open.chain(candidates.iter().filter(|candidate| candidate.ends)).take(options.beams) {
            let mut tokens = self.running[candidate.beam].tokens.clone();
            tokens.push(candidate.token);
            running.push(Beam { tokens, sum: candidate.sum + if candidate.ends { NOTHING } else { 0.0 } });
            parents.push(candidate.beam);
        }
        self.running = running;
        let worst = self.ended.iter().map(|ended| ended.hypothesis.score).fold(f64::INFINITY, f64::min);
        let hypothetical = match options.early_stopping {
            EarlyStopping::Never if options.length_penalty.alpha() > 0.0 => allowance,
            _ => length,
        };
        let reachable = self.running[0].sum / options.length_penalty.divisor(hypothetical);
        self.improvable &= self.ended.iter().any(|ended| reachable > if ended.there { worst } else { NOTHING });
        let full = self.ended.iter().all(|ended| ended.there);
        if !self.improvable || all_end || (full && options.early_stopping == EarlyStopping::AtOnce) {
            return Vec::new();
        }
        parents
    }

    /// The best continuations of all beams, best first.
    fn candidates<'a>(
        &self,
        prompt: &[u32],
        logits: impl Fn(usize) -> &'a [f32],
        options: &BeamOptions,
        last: bool,
    ) -> Vec<Candidate> {
        let wanted = options.beams * options.candidates_each();
        let mut all: Vec<(f64, usize, u32)> = Vec::new();
        for (beam, Beam { tokens, sum }) in self.running.iter().enumerate() {
            // Beams without a text of their own yet have none to offer.
            if *sum <= NOTHING && !all.is_empty() {
                continue;
            }
            let mut scores = logits(beam).to_vec();
            log_softmax(&mut scores);
            if !options.rules.idle() {
                options.rules.apply(&mut scores, &[prompt, tokens].concat(), last);
            }
            let mut own: Vec<(f64, usize, u32)> =
                scores.iter().enumerate().map(|(token, score)| (sum + f64::from(*score), beam, token as u32)).collect();
            if own.len() > wanted {
                own.select_nth_unstable_by(wanted - 1, best_first);
                own.truncate(wanted);
            }
            all.extend(own);
        }
        all.sort_unstable_by(best_first);
        all.truncate(wanted);
        let candidate = |(sum, beam, token): (f64, usize, u32)| Candidate {
            beam,
            token,
            sum,
            ends: last || options.ends.contains(&token),
        };
        all.into_iter().map(candidate).collect()
    }

    /// Takes those among the best candidates that end, where they are better than what has ended before.
    fn end(&mut self, candidates: &[Candidate], options: &BeamOptions, length: usize) {
        for candidate in candidates.iter().take(options.beams).filter(|candidate| candidate.ends) {
            let mut tokens = self.running[candidate.beam].tokens.clone();
            let finish = if options.ends.contains(&candidate.token) {
                Finish::Stop
            } else {
                tokens.push(candidate.token);
                Finish::Length
            };
            let score = candidate.sum / options.length_penalty.divisor(length);
            self.ended.push(Ended { hypothesis: Hypothesis { tokens, score, finish }, there: true });
        }
        // Stable: of equals the older one stays before the newer.
        self.ended.sort_by(|a, b| b.hypothesis.score.total_cmp(&a.hypothesis.score));
        self.ended.truncate(options.beams);
    }

    fn best(self, options: &BeamOptions) -> Vec<Hypothesis> {
        let there = self.ended.into_iter().filter(|ended| ended.there).map(|ended| ended.hypothesis);
        there.take(options.n_best).collect()
    }
}

fn best_first(a: &(f64, usize, u32), b: &(f64, usize, u32)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2)))
}

/// Logits become log-probabilities; what is not a number counts as −∞.
fn log_softmax(scores: &mut [f32]) {
    for score in &mut *scores {
        if score.is_nan() {
            *score = f32::NEG_INFINITY;
        }
    }
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !most.is_finite() {
        return;
    }
    let sum: f64 = scores.iter().map(|score| f64::from(score - most).exp()).sum();
    let shift = f64::from(most) + sum.ln();
    for score in scores {
        *score = (f64::from(*score) - shift) as f32;
    }
}
