//! The shapes that can be measured, and the operations that a token of each costs.

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// GPT-2 on next tokens.
    Gpt,
    /// BERT on masked words.
    Bert,
    /// An LSTM with a tied output on next tokens.
    Lstm,
    /// An encoder and a decoder on translations, with labels smoothed.
    Seq2Seq,
}

/// A model and the batch that it is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What the command calls it.
    pub name: &'static str,
    /// What is trained.
    pub model: Model,
    /// Width of the hidden states; of an LSTM also of the embeddings.
    pub width: usize,
    /// Blocks, or layers; of the encoder and of the decoder each.
    pub layers: usize,
    /// Attention heads; an LSTM has none.
    pub heads: usize,
    /// Tokens a sequence; of the source and of the target each.
    pub context: usize,
    /// Token ids.
    pub vocabulary: usize,
    /// Sequences a step.
    pub batch: usize,
}

/// The shapes that can be asked for. Feed-forwards are four times as wide as the hidden states.
pub const SHAPES: &[Shape] = &[
    shape("gpt-3m", Model::Gpt, [192, 5, 6, 256, 4096, 8]),
    shape("gpt-14m", Model::Gpt, [384, 6, 6, 256, 8192, 8]),
    shape("gpt-124m", Model::Gpt, [768, 12, 12, 512, 50304, 4]),
    shape("bert-mini", Model::Bert, [256, 4, 4, 128, 8192, 16]),
    shape("lstm", Model::Lstm, [512, 2, 0, 64, 8192, 32]),
    shape("seq2seq", Model::Seq2Seq, [256, 3, 4, 64, 8192, 32]),
];

/// A shape of these width, layers, heads, context, vocabulary and batch.
const fn shape(name: &'static str, model: Model, sizes: [usize; 6]) -> Shape {
    let [width, layers, heads, context, vocabulary, batch] = sizes;
    Shape { name, model, width, layers, heads, context, vocabulary, batch }
}

impl Shape {
    /// Tokens that the model reads in a step, those of sources and targets together.
    pub fn tokens(&self) -> usize {
        let sides = if self.model == Model::Seq2Seq { 2 } else { 1 };
        sides * self.batch * self.context
    }

    /// Positions whose words are predicted in a step: all of them, of the target alone where there is one, or of BERT the
    /// 15 % of Devlin et al. 2019.
    pub fn predicted(&self) -> usize {
        match self.model {
            Model::Bert => (self.tokens() * 15 / 100).max(1),
            Model::Gpt | Model::Lstm | Model::Seq2Seq => self.batch * self.context,
        }
    }

    /// Floating-point operations of forward and backward in a step: six for every weight that a product reads for every
    /// row that it reads it for, and for attention twelve for every query, key that it may see, and column. Norms,
    /// activations, softmax and the optimizer do not count. The scripts of `benches/peers` count the same.
    pub fn flops(&self) -> f64 {
        let [width, layers, context, tokens, predicted, vocabulary] =
            [self.width, self.layers, self.context, self.tokens(), self.predicted(), self.vocabulary]
                .map(|size| size as f64);
        let (square, head) = (width * width, vocabulary * width);
        // Four projections of attention and two of a feed-forward that is four times as wide.
        let layer = 12.0 * square;
        match self.model {
            // A causal query sees half of the keys, on average.
            Model::Gpt => 6.0 * tokens * (layers * (layer + context * width) + head),
            // The head's own dense layer and its output run at the predicted positions alone.
            Model::Bert => 6.0 * (tokens * layers * (layer + 2.0 * context * width) + predicted * (square + head)),
            // Four gates, each of the input and of the state.
            Model::Lstm => 6.0 * tokens * (layers * 8.0 * square + head),
            // Half of the tokens pass the encoder. The others pass the decoder, where they see half of what came before, on
            // average, and all of the source, through four more projections.
            Model::Seq2Seq => {
                let (encoder, decoder) = (layer + 2.0 * context * width, layer + 4.0 * square + 3.0 * context * width);
                6.0 * predicted * (layers * (encoder + decoder) + head)
            }
        }
    }

    /// [`Shape::flops`], a token that the model reads.
    pub fn flops_per_token(&self) -> f64 {
        self.flops() / self.tokens() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted() {
        let of = |model| Shape {
            name: "tiny",
            model,
            width: 32,
            layers: 2,
            heads: 2,
            context: 20,
            vocabulary: 64,
            batch: 2,
        };
        let gpt = 6 * (12 * 2 * 32 * 32 + 64 * 32) + 6 * 2 * 20 * 32;
        assert_eq!(of(Model::Gpt).flops_per_token(), f64::from(gpt));
        assert_eq!(of(Model::Bert).predicted(), 6);
        let body = 40 * (6 * 12 * 2 * 32 * 32 + 12 * 2 * 20 * 32);
        assert_eq!(of(Model::Bert).flops(), f64::from(body + 6 * 6 * (32 * 32 + 64 * 32)));
        assert_eq!(of(Model::Lstm).flops_per_token(), f64::from(6 * (2 * 8 * 32 * 32 + 64 * 32)));
        assert_eq!((of(Model::Seq2Seq).tokens(), of(Model::Seq2Seq).predicted()), (80, 40));
        let sides = 2 * (28 * 32 * 32) + 2 * 5 * 20 * 32;
        assert_eq!(of(Model::Seq2Seq).flops(), f64::from(40 * 6 * (sides + 64 * 32)));
    }
}
