//! Where a query's words stand in the training text as they are.

use std::collections::HashMap;
use std::ops::Range;

/// Every stretch of tokens of one text, as an automaton (suffix automaton, Blumer et al. 1985): it has a state for every set of
/// places where a stretch ends, at most two a token.
///
/// It is built of the query, and the training text runs through it once, from the memory-mapped shards; an index of suffixes of the
/// training text would answer sooner, and take five times its size on disk.
#[derive(Clone, Debug)]
pub struct Automaton {
    states: Vec<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    next: HashMap<u32, usize>,
    link: Option<usize>,
    length: usize,
    /// Where the first of its stretches ends in the text.
    end: usize,
}

/// A stretch of a text that stands in the query as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Where it stands in the text that was read.
    pub text: Range<usize>,
    /// Where it stands in the query.
    pub query: Range<usize>,
}

impl Automaton {
    /// Of a query's tokens.
    pub fn new(query: &[u32]) -> Self {
        let mut states = vec![State::default()];
        let mut last = 0;
        for (at, &token) in query.iter().enumerate() {
            let new = states.len();
            states.push(State { length: states[last].length + 1, end: at + 1, ..State::default() });
            let mut state = Some(last);
            while let Some(place) = state.filter(|place| !states[*place].next.contains_key(&token)) {
                states[place].next.insert(token, new);
                state = states[place].link;
            }
            states[new].link = Some(match state {
                None => 0,
                Some(place) => {
                    let target = states[place].next[&token];
                    if states[place].length + 1 == states[target].length {
                        target
                    } else {
                        let copy = states.len();
                        let copied = State { length: states[place].length + 1, ..states[target].clone() };
                        states.push(copied);
                        let mut state = Some(place);
                        while let Some(place) = state.filter(|place| states[*place].next.get(&token) == Some(&target)) {
                            states[place].next.insert(token, copy);
                            state = states[place].link;
                        }
                        states[target].link = Some(copy);
                        copy
                    }
                }
            });
            last = new;
        }
        Self { states }
    }

    /// The stretches of `text` of `shortest` tokens and more that stand in the query and cannot be made longer, in the order of the
    /// text; none lies within another.
    pub fn matches(&self, text: impl IntoIterator<Item = u32>, shortest: usize) -> Vec<Match> {
        let mut found: Vec<Match> = Vec::new();
        let (mut state, mut length) = (0, 0);
        let mut keep = |state: usize, length: usize, end: usize| {
            if length >= shortest.max(1) {
                let query = self.states[state].end;
                found.push(Match { text: end - length..end, query: query - length..query });
            }
        };
        let mut count = 0;
        for (at, token) in text.into_iter().enumerate() {
            count = at + 1;
            if let Some(next) = self.states[state].next.get(&token) {
                (state, length) = (*next, length + 1);
                continue;
            }
            keep(state, length, at);
            while let Some(link) = self.states[state].link.filter(|_| !self.states[state].next.contains_key(&token)) {
                (state, length) = (link, self.states[link].length);
            }
            match self.states[state].next.get(&token) {
                Some(next) => (state, length) = (*next, length + 1),
                None => length = 0,
            }
        }
        keep(state, length, count);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest stretch that ends at every place, by looking.
    fn plain(query: &[u32], text: &[u32], shortest: usize) -> Vec<Range<usize>> {
        let longest = |end: usize| {
            (1..=end).rev().find(|length| query.windows(*length).any(|w| w == &text[end - length..end])).unwrap_or(0)
        };
        (1..=text.len())
            .filter_map(|end| {
                let length = longest(end);
                let goes_on = end < text.len() && longest(end + 1) == length + 1;
                (length >= shortest && !goes_on).then(|| end - length..end)
            })
            .collect()
    }

    #[test]
    fn equals_looking_for_every_stretch() {
        for seed in 0..200_u64 {
            let draw = |at: u64| (loam_nn::initialize::mix((seed << 20) | at) % 3) as u32;
            let query: Vec<u32> = (0..=seed % 17).map(draw).collect();
            let text: Vec<u32> = (100..100 + seed % 41).map(draw).collect();
            let automaton = Automaton::new(&query);
            for shortest in [1, 2, 4] {
                let found = automaton.matches(text.iter().copied(), shortest);
                let ranges: Vec<_> = found.iter().map(|found| found.text.clone()).collect();
                assert_eq!(ranges, plain(&query, &text, shortest), "{query:?} in {text:?}");
                for found in found {
                    assert_eq!(query[found.query], text[found.text]);
                }
            }
        }
        assert!(Automaton::new(&[]).matches([1, 2], 1).is_empty());
        assert!(Automaton::new(&[1]).matches([], 1).is_empty());
    }
}
