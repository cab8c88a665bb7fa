//! Training examples without end, and held-out ones, from text or from pairs, for any objective.

use crate::error::TrainError;
use crate::objective::{Documents, Example, Kind, Masking, Objective, Settings, Window};
use crate::plan::Portions;
use loam_corpus::{
    ExampleStream, IGNORE, Loader, PairLoader, Place, Position, Prepared, evaluation_sequences, fitting,
};

/// What an example was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A window of text.
    Window {
        /// Where it was cut from its source.
        place: Place,
        /// Its tokens.
        length: usize,
    },
    /// A pair or a conversation, by its number in its source.
    Pair(usize),
}

/// Examples of one source, side by side.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Index of the source.
    pub source: usize,
    /// The examples.
    pub examples: Vec<Example>,
    /// What each example was made of.
    pub origins: Vec<Origin>,
    /// Targets that count.
    pub counted: usize,
    /// Tokens that are read or written.
    pub tokens: usize,
}

impl Batch {
    fn new(source: usize, examples: Vec<Example>, origins: Vec<Origin>) -> Self {
        let counted = examples.iter().map(Example::counted).sum();
        let tokens = examples.iter().map(Example::tokens).sum();
        Self { source, examples, origins, counted, tokens }
    }
}

enum Stock {
    Text {
        loader: Loader,
        totals: Vec<usize>,
        /// Of each source, where next sentences are told.
        documents: Vec<Documents>,
    },
    Pairs(PairLoader),
}

fn masking(objective: &Objective) -> Option<&Masking> {
    if let Objective::Masked(masking) = objective { Some(masking) } else { None }
}

/// The documents of every source, where next sentences are told.
fn documents(objective: &Objective, prepared: &Prepared, context: usize) -> Result<Vec<Documents>, TrainError> {
    if !masking(objective).is_some_and(Masking::tells_next_sentences) {
        return Ok(Vec::new());
    }
    if objective.window(context) < 2 {
        return Err(TrainError::Request(format!(
            "objective.next_sentence = true: a context of {context} tokens has no room for two sentences"
        )));
    }
    let found: Vec<Documents> =
        (0..prepared.sources().len()).map(|source| Documents::of(prepared.train_stream(source))).collect();
    let held_out = prepared.held_out().iter().enumerate();
    let held_out = held_out.map(|(index, domain)| (&domain.name, prepared.held_out_stream(index)));
    let sources = prepared.sources().iter().zip(&found).filter(|(source, _)| source.share > 0.0 && source.tokens > 0);
    let few = sources.map(|(source, found)| ("source", &source.name, found.len()));
    let few = few.chain(
        held_out
            .filter(|(_, stream)| !stream.is_empty())
            .map(|(name, stream)| ("held-out domain", name, Documents::of(stream).len())),
    );
    match few.into_iter().find(|(.., count)| *count < 2) {
        Some((what, name, count)) => Err(TrainError::Request(format!(
            "objective.next_sentence = true draws sentences from other documents, and {what} {name:?} has {count} of two \
             tokens or more; give it more text, split it otherwise (split = \"paragraph\" or \"line\"), or bring its \
             documents as JSON lines or files of their own"
        ))),
        None => Ok(found),
    }
}

/// Delivers batches.
pub struct Feed {
    stock: Stock,
    objective: Objective,
    context: usize,
    /// Tokens of text in an example.
    window: usize,
}

impl Feed {
    /// A feed at its start.
    ///
    /// # Errors
    /// When the data are not what the objective learns from, or the tokenizer lacks what it needs.
    pub fn new(prepared: &Prepared, kind: Kind, settings: &Settings, portions: &Portions) -> Result<Self, TrainError> {
        let objective = Objective::new(kind, settings, prepared.tokenizer())?;
        let sources = prepared.sources().len();
        let pairs = (0..sources).filter(|source| prepared.train_examples(*source).is_some()).count();
        let window = objective.window(portions.context);
        let stock = match (kind, pairs) {
            (Kind::Causal | Kind::Masked | Kind::Spans, 0) => Stock::Text {
                loader: Loader::new(prepared, window, portions.sequences, settings.seed)?,
                totals: (0..sources).map(|source| prepared.train_stream(source).len()).collect(),
                documents: documents(&objective, prepared, portions.context)?,
            },
            (Kind::Causal | Kind::Pairs, pairs) if pairs == sources => Stock::Pairs(PairLoader::new(
                prepared,
                objective.fit(portions.context),
                portions.micro_batch_tokens(),
                settings.seed,
            )?),
            (Kind::Pairs, _) => {
                let message = "pairs are learned from sources of pairs: name the targets of every source with \
                               target_path, or its fields with input_field and target_field";
                return Err(TrainError::Request(message.to_owned()));
            }
            (kind, _) => {
                return Err(TrainError::Request(format!(
                    "objective.kind = \"{}\" learns from text, and {pairs} of {sources} sources are of pairs",
                    kind.name()
                )));
            }
        };
        Ok(Self { stock, objective, context: portions.context, window })
    }

    /// Pairs that are longer than the context and left out.
    pub fn left_out(&self) -> usize {
        match &self.stock {
            Stock::Text { .. } => 0,
            Stock::Pairs(loader) => loader.left_out(),
        }
    }

    /// Micro-batches of an epoch, where that is not a matter of tokens alone.
    pub fn batches_per_epoch(&self) -> Option<u64> {
        match &self.stock {
            Stock::Text { .. } => None,
            Stock::Pairs(loader) => Some(loader.batches_per_epoch()),
        }
    }

    /// The next batch.
    #[allow(clippy::should_implement_trait)] // There is always a next one; an Option would be a lie.
    pub fn next(&mut self) -> Batch {
        match &mut self.stock {
            Stock::Text { loader, totals, documents } => {
                let batch = loader.next();
                let loader = &*loader;
                let window = batch.targets.len() / batch.sequences.max(1);
                let rows = batch.inputs.chunks(window).zip(batch.targets.chunks(window)).zip(&batch.places);
                let example = |((inputs, targets), place): ((&[u32], &[u32]), &Place)| {
                    let tokens = self.objective.text(targets);
                    let origin = Origin::Window { place: *place, length: tokens.len() };
                    let (source, total) = (batch.source, totals[batch.source]);
                    let window = Window { tokens, source, number: place.number, start: place.start, total };
                    let of_sentences = documents.get(source).and_then(|documents| {
                        let masking = masking(&self.objective)?;
                        masking.sentences_example(&window, loader.stream(source), documents, self.context)
                    });
                    (of_sentences.unwrap_or_else(|| self.objective.example(window, inputs)), origin)
                };
                let (examples, origins) = rows.map(example).unzip();
                Batch { tokens: batch.tokens, ..Batch::new(batch.source, examples, origins) }
            }
            Stock::Pairs(loader) => {
                let batch = loader.next();
                let stream = loader.stream(batch.source);
                let example = |pair: &usize| self.objective.pair(stream, *pair);
                let origins = batch.pairs.iter().map(|pair| Origin::Pair(*pair)).collect();
                Batch::new(batch.source, batch.pairs.iter().map(example).collect(), origins)
            }
        }
    }

    /// For every target of a batch that counts, in the order of the examples, the place in its source's tokens of the token
    /// that it stands for: a pair's first token for all of its targets; where spans are cut out, the span's first token for
    /// its sentinel.
    pub fn target_places(&self, batch: &Batch) -> Vec<usize> {
        let mut places = Vec::with_capacity(batch.counted);
        for (example, origin) in batch.examples.iter().zip(&batch.origins) {
            let told = example.targets.iter().enumerate().filter(|(_, id)| **id != IGNORE).map(|(slot, _)| slot);
            match (origin, &self.stock) {
                (Origin::Window { place, length }, Stock::Text { loader, totals, documents }) => {
                    let (source, total) = (batch.source, totals[batch.source]);
                    let tokens = vec![0; *length];
                    let window = Window { tokens: &tokens, source, number: place.number, start: place.start, total };
                    let sentences = documents.get(source).and_then(|documents| {
                        masking(&self.objective)?.sentences_places(
                            &window,
                            loader.stream(source),
                            documents,
                            self.context,
                        )
                    });
                    let slots = sentences.unwrap_or_else(|| self.objective.target_places(&window));
                    // Slots behind the text are padding, or an end that stands for the last token.
                    let last = slots.last().copied().unwrap_or(place.start);
                    places.extend(told.map(|slot| slots.get(slot).copied().unwrap_or(last)));
                }
                (Origin::Pair(pair), Stock::Pairs(loader)) => {
                    let begin = loader.stream(batch.source).begin(*pair);
                    places.extend(told.map(|_| begin));
                }
                _ => unreachable!("a batch of another feed"),
            }
        }
        places
    }

    /// The examples of a held-out domain, every one the same each time; `most` at most, spread over it.
    pub fn held_out(&self, prepared: &Prepared, domain: usize, most: Option<usize>) -> Vec<Example> {
        if let Some(stream) = prepared.held_out_examples(domain) {
            let pairs = fitting(stream, self.objective.fit(self.context));
            let step = most.map_or(1, |most| pairs.len().div_ceil(most.max(1)).max(1));
            return pairs.iter().step_by(step).map(|pair| self.objective.pair(stream, *pair)).collect();
        }
        let stream = prepared.held_out_stream(domain);
        let sequences = evaluation_sequences(stream, self.window, most.map(|most| most * self.window));
        let (total, count) = (stream.len(), sequences.len());
        let windows = total.div_ceil(self.window.max(1));
        let asked = !stream.is_empty() && masking(&self.objective).is_some_and(Masking::tells_next_sentences);
        let documents = asked.then(|| Documents::of(stream));
        let examples = sequences.into_iter().enumerate().map(|(number, sequence)| {
            // As `evaluation_sequences` places them.
            let start = number * windows / count * self.window;
            let tokens = self.objective.text(&sequence.targets);
            let window = Window { tokens, source: domain, number: number as u64, start, total };
            let of_sentences = documents.as_ref().and_then(|documents| {
                let masking = masking(&self.objective)?;
                masking.held_out_sentences_example(&window, stream, documents, self.context)
            });
            of_sentences.unwrap_or_else(|| self.objective.held_out_example(window, &sequence.inputs))
        });
        examples.filter(|example| example.counted() > 0).collect()
    }

    /// Tokens of text in an example.
    pub fn window(&self) -> usize {
        self.window
    }

    /// The example of a window of text that begins at `start` in a source, the same each time. Where the model continues
    /// text it reads from `before`, or tells nothing of the first token without one.
    pub fn passage(&self, before: Option<u32>, tokens: &[u32], source: usize, start: usize) -> Example {
        let total = start + tokens.len();
        match &self.objective {
            Objective::Causal | Objective::Pairs => {
                let mut all: Vec<u32> = before.into_iter().collect();
                all.extend(tokens);
                let inputs = all[..all.len().saturating_sub(1)].to_vec();
                Example { inputs, targets: all.get(1..).unwrap_or_default().to_vec(), ..Example::default() }
            }
            other => other.held_out_example(Window { tokens, source, number: 0, start, total }, &[]),
        }
    }

    /// The example of a pair or a conversation.
    pub fn pair(&self, stream: &ExampleStream, index: usize) -> Example {
        self.objective.pair(stream, index)
    }

    /// Whether the losses of a batch's targets are asked for, in [`Feed::learn`].
    pub fn is_adaptive(&self) -> bool {
        matches!(&self.objective, Objective::Masked(masking) if masking.is_adaptive())
    }

    /// Takes note of what the targets of a batch cost the model.
    pub fn learn(&mut self, batch: &Batch, losses: &[f32]) {
        if let Objective::Masked(masking) = &mut self.objective {
            let told = batch.examples.iter().flat_map(|example| &example.targets).filter(|id| **id != IGNORE);
            masking.learn(told.copied().zip(losses.iter().copied()));
        }
    }

    /// What it has taken note of, for a checkpoint.
    pub fn memory(&self) -> Vec<f32> {
        match &self.objective {
            Objective::Masked(masking) => masking.memory().to_vec(),
            _ => Vec::new(),
        }
    }

    /// How far it has come.
    pub fn position(&self) -> Position {
        match &self.stock {
            Stock::Text { loader, .. } => loader.position(),
            Stock::Pairs(loader) => loader.position(),
        }
    }

    /// Goes on from a position and from what was taken note of until then.
    pub fn seek(&mut self, position: &Position, memory: &[f32]) {
        match &mut self.stock {
            Stock::Text { loader, .. } => loader.seek(position),
            Stock::Pairs(loader) => loader.seek(position),
        }
        if let Objective::Masked(masking) = &mut self.objective {
            masking.restore(memory);
        }
    }
}
