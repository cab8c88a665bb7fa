//! What may not come next, whatever the model says.

use crate::error::ModelError;
use std::collections::HashSet;

/// Rules over the scores of the next token, applied in the order of transformers' logits processors.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Divides positive and multiplies negative scores of tokens already there (Keskar et al. 2019, section 4.1); 1 is
    /// off. Sampling applies its own, to logits; beam search this one, to log-probabilities.
    pub repetition_penalty: f32,
    /// No sequence of so many tokens comes twice (Paulus et al. 2017, section 2.5); 0 is off.
    pub no_repeat_ngram: usize,
    /// Tokens that never come.
    pub banned: Vec<u32>,
    /// What the last token of the allowance must be, as Marian has it: the one that ends the text.
    pub forced_end: Option<u32>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { repetition_penalty: 1.0, no_repeat_ngram: 0, banned: Vec::new(), forced_end: None }
    }
}

impl Rules {
    /// Checks that every rule is within its range.
    ///
    /// # Errors
    /// When the penalty is not a positive number, or a token is beyond the vocabulary.
    pub fn check(&self, vocabulary: usize) -> Result<(), ModelError> {
        if !(self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0) {
            return Err(ModelError::Request(format!(
                "repetition_penalty = {} is out of range: a positive number; 1 is off, 1.1 to 1.3 is usual",
                self.repetition_penalty
            )));
        }
        match self.banned.iter().chain(&self.forced_end).find(|&&id| id as usize >= vocabulary) {
            Some(id) => Err(ModelError::Request(format!(
                "the rules' token {id} is beyond the model's vocabulary of {vocabulary}"
            ))),
            None => Ok(()),
        }
    }

    /// Whether [`Rules::apply`] does anything at all.
    pub(super) fn idle(&self) -> bool {
        self.repetition_penalty == 1.0
            && self.no_repeat_ngram == 0
            && self.banned.is_empty()
            && self.forced_end.is_none()
    }

    /// Changes one row of scores after `history`, prompt included; with `last`, where the allowance ends with the next token.
    pub(super) fn apply(&self, scores: &mut [f32], history: &[u32], last: bool) {
        if self.repetition_penalty != 1.0 {
            let seen: HashSet<u32> = history.iter().copied().collect();
            for token in seen {
                if let Some(score) = scores.get_mut(token as usize) {
                    let penalty = self.repetition_penalty;
                    *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
                }
            }
        }
        self.mask(scores, history, last);
    }

    /// [`Rules::apply`] without the penalty.
    pub(super) fn mask(&self, scores: &mut [f32], history: &[u32], last: bool) {
        let size = self.no_repeat_ngram;
        if size > 0 && history.len() + 1 >= size {
            let recent = &history[history.len() + 1 - size..];
            for window in history.windows(size) {
                if window[..size - 1] == *recent {
                    scores[window[size - 1] as usize] = f32::NEG_INFINITY;
                }
            }
        }
        for &token in &self.banned {
            scores[token as usize] = f32::NEG_INFINITY;
        }
        if let Some(end) = self.forced_end.filter(|_| last) {
            scores.fill(f32::NEG_INFINITY);
            scores[end as usize] = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sequence_comes_twice() {
        let rules = |no_repeat_ngram| Rules { no_repeat_ngram, ..Rules::default() };
        let left = |rules: Rules, history: &[u32]| -> Vec<usize> {
            let mut scores = vec![0.0; 6];
            rules.apply(&mut scores, history, false);
            (0..6).filter(|&token| scores[token] == 0.0).collect()
        };
        assert_eq!(left(rules(1), &[1, 2, 2]), [0, 3, 4, 5]);
        assert_eq!(left(rules(2), &[1, 2, 3, 1]), [0, 1, 3, 4, 5]);
        assert_eq!(left(rules(3), &[1, 2, 3, 1, 2]), [0, 1, 2, 4, 5]);
        assert_eq!(left(rules(3), &[1, 2, 3, 2]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(left(rules(9), &[1]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(left(Rules { banned: vec![0, 5], ..Rules::default() }, &[]), [1, 2, 3, 4]);
    }

    #[test]
    fn the_last_token_may_have_to_be_the_end() {
        let rules = Rules { forced_end: Some(2), ..Rules::default() };
        let mut scores = vec![1.0; 3];
        rules.apply(&mut scores, &[], false);
        assert_eq!(scores, [1.0; 3]);
        rules.apply(&mut scores, &[], true);
        assert_eq!(scores, [f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0]);
        assert!(Rules { banned: vec![3], ..Rules::default() }.check(3).is_err());
        assert!(Rules { repetition_penalty: f32::NAN, ..Rules::default() }.check(3).is_err());
    }
}
