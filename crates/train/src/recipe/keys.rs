//! The keys of a recipe: each with its reason, and the nearest one to a key that does not exist.

use strsim::damerau_levenshtein;

/// Every key, in the order of a written recipe, with the reason that stands beside it.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("data.train", "short form: the files of one source called \"train\""),
    ("data.prepared", "a folder of `loam data prepare` with tokens, in the place of sources and tokenizer"),
    ("data.clean", "of all text: mojibake, strip_tags, width, letters, lowercase, …"),
    ("data.encoding", "of all files: auto, utf-8, gb18030, big5, shift_jis, …"),
    ("data.damage", "bytes that are no text: refuse stops at the first, replace puts U+FFFD"),
    ("data.max_expansion", "times its size that a compressed file may grow to"),
    ("data.source.name", "what the ledger calls it"),
    ("data.source.path", "files, folders, globs"),
    ("data.source.weight", "1 draws it as large as it is, 2 twice as often, 0 never"),
    ("data.source.text_field", "field of the records that holds the text; recognized by default"),
    ("data.source.split", "cut into documents: auto, file, line, paragraph, separator:…"),
    ("data.source.format", "of the records: text, or conversations, whose answers are learned"),
    ("data.source.clean", "steps of cleaning of this source, in the place of data.clean"),
    ("data.source.target_path", "pairs: files whose lines belong to those of path"),
    ("data.source.input_field", "pairs in records: field of the input, or column of a text file"),
    ("data.source.target_field", "pairs in records: field of the target, or column of a text file"),
    ("tokenizer.path", "a trained one: tokenizer.json or its folder"),
    ("tokenizer.kind", "bpe, wordpiece, unigram, word"),
    ("tokenizer.vocab", "token ids; more make shorter sequences and a larger embedding"),
    ("model.from", "go on from this model's folder"),
    ("model.family", "architecture: gpt, llama, rnn, lstm, gru, bert, seq2seq, t5"),
    ("model.width", "channels of the residual stream; divisible by heads"),
    ("model.layers", "blocks, one after another"),
    ("model.heads", "attention heads a block; 64 channels each is usual; none in rnn, lstm, gru"),
    ("model.context", "tokens that the model sees at once; with from, at most so many in training"),
    ("model.dropout", "against learning by heart; 0 when no text is seen twice"),
    ("model.tied", "output weights are the embeddings; false in rnn, lstm, gru, llama only"),
    ("train.steps", "optimizer steps; or epochs = E, or minutes = M"),
    ("train.epochs", "passes over the data; or steps = N, or minutes = M"),
    ("train.minutes", "minutes of training; or steps = N, or epochs = E"),
    ("train.batch_tokens", "tokens an optimizer step"),
    ("train.micro_batch_tokens", "tokens at once; automatic by default, less takes less memory"),
    ("train.lr", "peak learning rate; larger models want less"),
    ("train.min_lr", "learning rate at the end, as a fraction of the peak"),
    ("train.schedule", "constant, linear, cosine, warmup-stable-decay"),
    ("train.warmup", "rise to the peak: a fraction of the run below 1, steps from 1 on"),
    ("train.weight_decay", "pull of the matrices towards zero, times the learning rate"),
    ("train.beta1", "Adam: memory of the gradient"),
    ("train.beta2", "Adam: memory of its square; 0.95 forgets spikes sooner than 0.999"),
    ("train.epsilon", "Adam: floor of the denominator"),
    ("train.clip", "longest gradient norm; 0 is off"),
    ("train.dtype", "precision: f32, bf16"),
    ("train.eval_every", "steps between held-out evaluations"),
    ("train.eval_tokens", "held-out tokens a domain then; the last evaluation takes all"),
    ("train.checkpoint_every", "steps that a crash can cost"),
    ("train.keep_checkpoints", "latest ones on disk, beside the best"),
    ("train.patience", "evaluations without improvement before stopping; never by default"),
    ("train.seed", "initialization, data order, dropout"),
    ("lora.rank", "train adapters of this rank and leave the model of model.from as it is"),
    ("lora.alpha", "adapters count alpha / rank times; twice the rank by default"),
    ("lora.targets", "layers that get one: ends of their names, or all-linear"),
    ("objective.kind", "causal, masked, pairs, spans; by default what the family is for"),
    ("objective.mask", "share of the tokens that are masked, or cut out"),
    ("objective.masking", "which are masked: static, dynamic, adaptive (hard ones more often)"),
    ("objective.whole_words", "mask the pieces of a word together"),
    ("objective.next_sentence", "tell of two sentences whether one follows the other, beside masked tokens"),
    ("objective.span", "mean length of the spans that are cut out, in tokens"),
    ("objective.label_smoothing", "of encoders with decoders; 0.1 is usual for translation"),
    ("objective.chat_template", "of conversations: chatml, or a file; the model's own by default"),
    ("ledger.enabled", "book what each source did for each held-out domain"),
    ("ledger.refresh_every", "steps between fresh held-out gradients; fewer close the books better"),
    ("ledger.momentum", "credited to the sources that built it, or history: its own line"),
    ("ledger.tokens", "held-out tokens a domain, others each refresh; automatic by default"),
    ("ledger.documents", "book to single documents too, by scoring some micro-batches"),
    ("ledger.documents_budget", "share of the time of training that this may take"),
    ("ledger.documents_rate", "share of the micro-batches scored; by default what the budget allows"),
    ("baseline.enabled", "unigram, bigram, trigram to compare with"),
    ("baseline.tokens", "training tokens that they see at most"),
];

/// The tables whose keys are names of held-out domains.
pub(super) const DOMAINS: &[&str] = &["data.held_out", "data.held_out_target"];

/// The tables of a recipe.
pub(super) const SECTIONS: &[&str] =
    &["data", "tokenizer", "model", "train", "lora", "objective", "ledger", "baseline"];

/// Other trainers' names for our keys. Of several keys, the one in the section that was written goes first.
const SYNONYMS: &[(&str, &[&str])] = &[
    ("adam_epsilon", &["train.epsilon"]),
    ("architecture", &["model.family"]),
    ("batch", &["train.batch_tokens"]),
    ("batch_size", &["train.batch_tokens"]),
    ("betas", &["train.beta1"]),
    ("block_size", &["model.context"]),
    ("context_length", &["model.context"]),
    ("d_model", &["model.width"]),
    ("depth", &["model.layers"]),
    ("duration", &["train.minutes"]),
    ("early_stopping", &["train.patience"]),
    ("early_stopping_patience", &["train.patience"]),
    ("eps", &["train.epsilon"]),
    ("eval", &["data.held_out"]),
    ("eval_interval", &["train.eval_every"]),
    ("eval_steps", &["train.eval_every"]),
    ("files", &["data.source.path", "data.train"]),
    ("grad_clip", &["train.clip"]),
    ("gradient_clipping", &["train.clip"]),
    ("gradient_accumulation_steps", &["train.micro_batch_tokens"]),
    ("hidden_size", &["model.width"]),
    ("iterations", &["train.steps"]),
    ("label_smoothing_factor", &["objective.label_smoothing"]),
    ("learning_rate", &["train.lr"]),
    ("learning_rate_schedule", &["train.schedule"]),
    ("log_every", &["train.eval_every"]),
    ("lora_alpha", &["lora.alpha"]),
    ("lr_scheduler", &["train.schedule"]),
    ("lr_scheduler_type", &["train.schedule"]),
    ("max_epochs", &["train.epochs"]),
    ("max_grad_norm", &["train.clip"]),
    ("max_iters", &["train.steps"]),
    ("max_length", &["model.context"]),
    ("max_norm", &["train.clip"]),
    ("max_position_embeddings", &["model.context"]),
    ("max_seq_len", &["model.context"]),
    ("max_steps", &["train.steps"]),
    ("micro_batch_size", &["train.micro_batch_tokens"]),
    ("minimum_lr", &["train.min_lr"]),
    ("mlm_probability", &["objective.mask"]),
    ("model_type", &["model.family", "tokenizer.kind"]),
    ("n_ctx", &["model.context"]),
    ("n_embd", &["model.width"]),
    ("n_head", &["model.heads"]),
    ("n_layer", &["model.layers"]),
    ("n_positions", &["model.context"]),
    ("num_attention_heads", &["model.heads"]),
    ("num_epochs", &["train.epochs"]),
    ("num_heads", &["model.heads"]),
    ("num_hidden_layers", &["model.layers"]),
    ("num_layers", &["model.layers"]),
    ("num_train_epochs", &["train.epochs"]),
    ("paths", &["data.source.path", "data.train"]),
    ("precision", &["train.dtype"]),
    ("save_every", &["train.checkpoint_every"]),
    ("save_steps", &["train.checkpoint_every"]),
    ("save_total_limit", &["train.keep_checkpoints"]),
    ("r", &["lora.rank"]),
    ("sequence_length", &["model.context"]),
    ("sources", &["data.source"]),
    ("test", &["data.held_out"]),
    ("target_modules", &["lora.targets"]),
    ("type", &["tokenizer.kind", "model.family"]),
    ("valid", &["data.held_out"]),
    ("validation", &["data.held_out"]),
    ("vocab_size", &["tokenizer.vocab"]),
    ("vocabulary", &["tokenizer.vocab"]),
    ("warmup_ratio", &["train.warmup"]),
    ("warmup_steps", &["train.warmup"]),
];

/// Whether a key, sources without their number, is one that a recipe may have.
pub(super) fn known(key: &str) -> bool {
    KEYS.iter().any(|(known, _)| *known == key)
}

/// What to say about a key that does not exist: the nearest one, or all that its section has.
pub(super) fn hint(unknown: &str) -> String {
    if let Some(key) = nearest(unknown) {
        return format!("did you mean \"{key}\"?");
    }
    let (section, _) = split(unknown);
    let siblings: Vec<&str> =
        KEYS.iter().map(|(key, _)| split(key)).filter(|(of, _)| *of == section).map(|(_, last)| last).collect();
    if section.is_empty() || siblings.is_empty() {
        format!("the sections are {}", SECTIONS.join(", "))
    } else {
        format!("the keys of [{section}] are {}", siblings.join(", "))
    }
}

fn nearest(unknown: &str) -> Option<&'static str> {
    let (section, last) = split(unknown);
    let same_section_first = |keys: &mut dyn Iterator<Item = &'static str>| {
        let keys: Vec<&str> = keys.collect();
        keys.iter().find(|key| split(key).0 == section).or(keys.first()).copied()
    };
    // data.held_out and data.source are tables, so they stand beside the keys.
    let candidates =
        || KEYS.iter().map(|(key, _)| *key).chain(["data.held_out", "data.held_out_target", "data.source"]);
    if let Some((_, keys)) = SYNONYMS.iter().find(|(name, _)| *name == last) {
        return same_section_first(&mut keys.iter().copied());
    }
    if let Some(key) = same_section_first(&mut candidates().filter(|key| split(key).1 == last)) {
        return Some(key);
    }
    let distance = |key: &str| {
        let (of, name) = split(key);
        let elsewhere = usize::from(of != section);
        damerau_levenshtein(unknown, key).min(damerau_levenshtein(last, name) + elsewhere)
    };
    let sections = SECTIONS.iter().copied().filter(|_| section.is_empty());
    candidates()
        .chain(sections)
        .map(|key| (distance(key), key))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= (last.chars().count() / 3).max(1))
        .map(|(_, key)| key)
}

/// Section and last part of a key.
fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_keys() {
        for (unknown, expected) in [
            ("train.learning_rate", "train.lr"),
            ("model.n_layer", "model.layers"),
            ("model.n_embd", "model.width"),
            ("train.batch_size", "train.batch_tokens"),
            ("train.block_size", "model.context"),
            ("train.max_steps", "train.steps"),
            ("tokenizer.type", "tokenizer.kind"),
            ("model.type", "model.family"),
            ("train.schedul", "train.schedule"),
            ("train.wieght_decay", "train.weight_decay"),
            ("lr", "train.lr"),
            ("trian", "train"),
            ("trian.lr", "train.lr"),
            ("model.lr", "train.lr"),
            ("data.sources", "data.source"),
            ("data.heldout", "data.held_out"),
            ("data.source.weigth", "data.source.weight"),
            ("ledger.enable", "ledger.enabled"),
            ("data.path", "data.source.path"),
        ] {
            assert_eq!(nearest(unknown), Some(expected), "{unknown}");
        }
        assert_eq!(
            hint("quux.frobnicate"),
            "the sections are data, tokenizer, model, train, lora, objective, ledger, baseline"
        );
        assert_eq!(hint("baseline.frobnicate"), "the keys of [baseline] are enabled, tokens");
    }

    #[test]
    fn synonyms_lead_to_keys() {
        for (name, keys) in SYNONYMS {
            assert!(!KEYS.iter().any(|(key, _)| split(key).1 == *name), "{name} is a key itself");
            assert!(keys.iter().all(|key| known(key) || ["data.held_out", "data.source"].contains(key)), "{name}");
        }
    }
}
