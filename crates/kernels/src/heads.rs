//! Where the channels of every head of every token lie in memory: what attention and rotary positions walk over.
//!
//! Models keep queries, keys and values in one packed tensor (GPT-2), in tensors of their own, or in a cache with room
//! to grow. A layout of three strides describes each, so nothing is copied before attention.

/// Channel `c` of head `h` of token `t` of batch row `b` is element
/// `start + b * batch_stride + t * time_stride + h * head_stride + c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLayout {
    /// Rows of the batch.
    pub batch: usize,
    /// Tokens of each row.
    pub time: usize,
    /// Heads of each token.
    pub heads: usize,
    /// Channels of one head; they lie side by side.
    pub head_width: usize,
    /// The first element.
    pub start: usize,
    /// Elements between a batch row and the next.
    pub batch_stride: usize,
    /// Elements between a token and the next.
    pub time_stride: usize,
    /// Elements between a head and the next.
    pub head_stride: usize,
}

impl HeadLayout {
    /// `[batch, time, heads, head_width]`: what a linear layer leaves, and what attention returns.
    ///
    /// The first `time` tokens of a cache with more room are
    /// `HeadLayout { time, ..HeadLayout::tokens_first(batch, room, heads, head_width) }`.
    pub fn tokens_first(batch: usize, time: usize, heads: usize, head_width: usize) -> Self {
        let width = heads * head_width;
        Self {
            batch,
            time,
            heads,
            head_width,
            start: 0,
            batch_stride: time * width,
            time_stride: width,
            head_stride: head_width,
        }
    }

    /// `[batch, heads, time, head_width]`.
    pub fn heads_first(batch: usize, time: usize, heads: usize, head_width: usize) -> Self {
        let head_stride = time * head_width;
        Self { time_stride: head_width, head_stride, ..Self::tokens_first(batch, time, heads, head_width) }
    }

    /// Queries, keys and values in one tensor, `[batch, time, (heads + 2 * key_value_heads) * head_width]`.
    pub fn packed(batch: usize, time: usize, heads: usize, key_value_heads: usize, head_width: usize) -> [Self; 3] {
        let row = (heads + 2 * key_value_heads) * head_width;
        let part = |heads, heads_before| Self {
            start: heads_before * head_width,
            batch_stride: time * row,
            time_stride: row,
            ..Self::tokens_first(batch, time, heads, head_width)
        };
        [part(heads, 0), part(key_value_heads, heads), part(key_value_heads, heads + key_value_heads)]
    }

    /// How many elements are described.
    pub fn count(self) -> usize {
        self.batch * self.time * self.heads * self.head_width
    }

    /// Where the channels of a head of a token of a batch row begin.
    pub fn offset(self, row: usize, step: usize, head: usize) -> usize {
        self.start + row * self.batch_stride + step * self.time_stride + head * self.head_stride
    }

    /// Counts and strides, dimension by dimension.
    fn dimensions(self) -> [(usize, usize); 4] {
        let Self { batch, time, heads, head_width, .. } = self;
        [(batch, self.batch_stride), (time, self.time_stride), (heads, self.head_stride), (head_width, 1)]
    }

    /// Panics unless every element lies among `len`.
    pub(crate) fn assert_within(self, len: usize, what: &str) {
        // In 128 bits no stride can wrap around.
        let reach = |(count, stride): (usize, usize)| (count as u128).saturating_sub(1) * stride as u128;
        let last = self.start as u128 + self.dimensions().into_iter().map(reach).sum::<u128>();
        assert!(self.count() == 0 || last < len as u128, "{what} {self:?} reaches beyond its {len} elements");
    }

    /// Panics unless all elements are different ones, as those that are written must be: each stride steps over all
    /// that the smaller ones reach.
    pub(crate) fn assert_disjoint(self, what: &str) {
        let mut dimensions = self.dimensions();
        dimensions.sort_by_key(|(_, stride)| *stride);
        let mut extent = 1;
        for (count, stride) in dimensions.into_iter().filter(|(count, _)| *count > 1) {
            assert!(self.count() == 0 || stride as u128 >= extent, "{what} {self:?} lays elements over each other");
            extent += (count as u128 - 1) * stride as u128;
        }
    }
}

/// Queries, keys or values where they lie.
#[derive(Clone, Copy, Debug)]
pub struct HeadView<'a> {
    // Private, since the kernels read without looking again: `new` found the layout within the data.
    data: &'a [f32],
    layout: HeadLayout,
}

impl<'a> HeadView<'a> {
    /// Panics when the layout reaches beyond the data.
    pub fn new(data: &'a [f32], layout: HeadLayout) -> Self {
        layout.assert_within(data.len(), "a view");
        Self { data, layout }
    }

    /// Where the elements lie.
    pub fn layout(self) -> HeadLayout {
        self.layout
    }

    /// The elements, and whatever lies between them.
    pub fn data(self) -> &'a [f32] {
        self.data
    }
}
