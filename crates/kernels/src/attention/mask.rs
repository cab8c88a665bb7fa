//! Which keys a query sees.
//!
//! Every mask here shows a query one run of neighboring keys: a causal mask its past, a window a band, padding and
//! packed sequences a stretch of the row. So a mask is two numbers a query, and which tiles it hides wholly is read
//! off without looking at a single pair.

use super::QUERY_TILE;
use std::ops::Range;

/// Which keys a query sees: those that all parts of the mask allow. [`Mask::default`] allows all.
///
/// Queries and keys are aligned at their end: the last query stands at the last key, as in decoding with a cache, where
/// the keys of earlier tokens come first. With as many keys as queries, query `i` stands at key `i`. A query that no
/// key is left for gives zeros, and gets none but zero gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask<'a> {
    /// How many keys before its own position a query sees; `None` for all.
    pub before: Option<usize>,
    /// How many keys after its own position a query sees; `None` for all.
    pub after: Option<usize>,
    /// For each batch row, which of its keys are not padding (on either side). Padding is never read, so it may hold
    /// anything; its gradients are zero.
    pub key_ranges: Option<&'a [Range<usize>]>,
    /// Sequences packed side by side into the rows, which do not see each other.
    pub sequences: Option<Sequences<'a>>,
}

impl<'a> Mask<'a> {
    /// Each query sees its own position and what comes before.
    pub fn causal() -> Self {
        Self { after: Some(0), ..Self::default() }
    }

    /// Each query sees the `window` keys that end at its own position (Beltagy et al. 2020, "Longformer"; Mistral).
    pub fn sliding(window: usize) -> Self {
        assert!(window > 0, "a window of no keys");
        Self { before: Some(window - 1), after: Some(0), ..Self::default() }
    }

    /// Each query sees its own position and `radius` keys to either side.
    pub fn around(radius: usize) -> Self {
        Self { before: Some(radius), after: Some(radius), ..Self::default() }
    }

    /// This mask, with the keys of each batch row outside its range hidden as padding.
    #[must_use]
    pub fn with_key_ranges(self, key_ranges: &'a [Range<usize>]) -> Self {
        Self { key_ranges: Some(key_ranges), ..self }
    }

    /// The run of keys that each query of each batch row sees, `[batch * queries]`; an empty one where it sees none.
    pub fn visible(&self, batch: usize, queries: usize, keys: usize) -> Vec<Range<usize>> {
        let run = |span: &[u32; 2]| span[0] as usize..span[1] as usize;
        Spans::new(self, batch, queries, keys).queries.iter().map(run).collect()
    }

    /// This mask within each of several packed sequences.
    #[must_use]
    pub fn with_sequences(self, sequences: Sequences<'a>) -> Self {
        Self { sequences: Some(sequences), ..self }
    }
}

/// Sequences packed side by side: where each begins, and after the last where it ends, among the tokens of all batch
/// rows (row `b` begins at `b * time`). No sequence reaches from one row into the next; empty ones are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequences<'a> {
    /// `[sequences + 1]`, from 0 to `batch * queries`.
    pub query_starts: &'a [usize],
    /// `[sequences + 1]`, from 0 to `batch * keys`: the queries of a sequence see the keys of the same sequence.
    pub key_starts: &'a [usize],
}

impl<'a> Sequences<'a> {
    /// Sequences that attend to themselves.
    pub fn same(starts: &'a [usize]) -> Self {
        Self { query_starts: starts, key_starts: starts }
    }
}

/// A mask worked out: the run of keys that each query sees, and each tile of queries. 8 bytes a query of a batch row.
pub(super) struct Spans {
    time: usize,
    tiles: usize,
    queries: Vec<[u32; 2]>,
    query_tiles: Vec<[u32; 2]>,
}

impl Spans {
    /// Panics when the mask does not fit `batch` rows of `queries` and `keys`.
    pub(super) fn new(mask: &Mask, batch: usize, queries: usize, keys: usize) -> Self {
        assert!(u32::try_from(keys.max(queries)).is_ok(), "{queries} queries, {keys} keys");
        if let Some(ranges) = mask.key_ranges {
            assert_eq!(ranges.len(), batch, "key ranges [{batch}]");
        }
        let mut spans = Vec::with_capacity(batch * queries);
        match mask.sequences {
            None => (0..batch).for_each(|row| mask.push(row, queries, 0..keys, &mut spans)),
            Some(Sequences { query_starts, key_starts }) => {
                check_starts(query_starts, batch, queries);
                check_starts(key_starts, batch, keys);
                assert_eq!(query_starts.len(), key_starts.len(), "sequences of queries and of keys");
                for (ends, key_ends) in query_starts.windows(2).zip(key_starts.windows(2)) {
                    // A sequence without queries may stand at the end of all rows.
                    let count = ends[1] - ends[0];
                    if count == 0 {
                        continue;
                    }
                    let row = ends[0] / queries;
                    let key_range = if key_ends[0] == key_ends[1] {
                        0..0
                    } else {
                        assert_eq!(
                            key_ends[0] / keys,
                            row,
                            "a sequence's queries and keys lie in different batch rows"
                        );
                        key_ends[0] - row * keys..key_ends[1] - row * keys
                    };
                    mask.push(row, count, key_range, &mut spans);
                }
            }
        }
        Self::from_queries(spans, queries)
    }

    /// From the runs of `[batch, time]` queries.
    fn from_queries(queries: Vec<[u32; 2]>, time: usize) -> Self {
        let tiles = time.div_ceil(QUERY_TILE);
        let rows = queries.chunks_exact(time.max(1));
        let query_tiles = rows.flat_map(|row| row.chunks(QUERY_TILE).map(hull)).collect();
        Self { time, tiles, queries, query_tiles }
    }

    /// The same keys for `count` queries in the place of each.
    pub(super) fn repeated(&self, count: usize) -> Self {
        let queries = self.queries.iter().flat_map(|span| std::iter::repeat_n(*span, count)).collect();
        Self::from_queries(queries, self.time * count)
    }

    /// Tiles of queries in a batch row.
    pub(super) fn tiles(&self) -> usize {
        self.tiles
    }

    /// The queries of a tile.
    pub(super) fn queries(&self, tile: usize) -> Range<usize> {
        tile * QUERY_TILE..self.time.min((tile + 1) * QUERY_TILE)
    }

    /// All keys that some query of a tile of a batch row sees, and perhaps some between them.
    pub(super) fn keys(&self, row: usize, tile: usize) -> Range<usize> {
        let [first, end] = self.query_tiles[row * self.tiles + tile];
        first as usize..end as usize
    }

    /// The smallest rectangle, queries by keys, outside which no query of the tile sees any of `keys`.
    pub(super) fn seen(&self, row: usize, tile: usize, keys: &Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
        let span = self.keys(row, tile);
        if span.start >= keys.end || keys.start >= span.end {
            return None;
        }
        let mut seen: Option<(Range<usize>, Range<usize>)> = None;
        for query in self.queries(tile) {
            let live = self.live(row, query, keys);
            if live.is_empty() {
                continue;
            }
            seen = Some(match seen {
                None => (query..query + 1, live),
                Some((queries, all)) => (queries.start..query + 1, all.start.min(live.start)..all.end.max(live.end)),
            });
        }
        seen
    }

    /// Those of `keys` that one query sees.
    pub(super) fn live(&self, row: usize, query: usize, keys: &Range<usize>) -> Range<usize> {
        let [first, end] = self.queries[row * self.time + query];
        let first = (first as usize).clamp(keys.start, keys.end);
        first..(end as usize).clamp(first, keys.end)
    }
}

impl Mask<'_> {
    /// Appends the runs of the next `count` queries of a batch row, which form a sequence with `keys`.
    fn push(&self, row: usize, count: usize, keys: Range<usize>, spans: &mut Vec<[u32; 2]>) {
        let shown = self
            .key_ranges
            .map_or(keys.clone(), |ranges| keys.start.max(ranges[row].start)..keys.end.min(ranges[row].end));
        // Positions may lie before the first key, and bounds of a mask beyond anything.
        let signed = |value: usize| value.min(u32::MAX as usize) as i64;
        for query in 0..count {
            // Aligned at the end.
            let position = signed(keys.end) + signed(query) - signed(count);
            let end =
                self.after.map_or(shown.end, |after| shown.end.min((position + signed(after) + 1).max(0) as usize));
            let first =
                self.before.map_or(shown.start, |before| shown.start.max((position - signed(before)).max(0) as usize));
            spans.push(if first < end { [first as u32, end as u32] } else { [0, 0] });
        }
    }
}

/// The smallest run that holds the runs of several queries.
fn hull(spans: &[[u32; 2]]) -> [u32; 2] {
    let live = spans.iter().filter(|[first, end]| first < end);
    live.copied().reduce(|a, b| [a[0].min(b[0]), a[1].max(b[1])]).unwrap_or([0, 0])
}

/// Panics unless `starts` cut `batch` rows of `time` tokens into sequences.
fn check_starts(starts: &[usize], batch: usize, time: usize) {
    let ends = (starts.first(), starts.last());
    assert_eq!(ends, (Some(&0), Some(&(batch * time))), "starts of sequences run from 0 to all of [{batch}, {time}]");
    for ends in starts.windows(2) {
        assert!(ends[0] <= ends[1], "starts of sequences descend from {} to {}", ends[0], ends[1]);
        let crosses = ends[0] < ends[1] && ends[0] / time != (ends[1] - 1) / time;
        assert!(!crosses, "a sequence from {} to {} crosses from a row of {time} into the next", ends[0], ends[1]);
    }
}
