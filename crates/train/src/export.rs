//! The trained model as others read it: a Hugging Face folder with a model card.

use crate::batch::HeldOutLoss;
use crate::error::TrainError;
use crate::learner::Learner;
use crate::objective::Kind;
use crate::recipe::Recipe;
use crate::run::Run;
use burn::module::Module;
use loam_corpus::Prepared;
use loam_models::weights;
use loam_nn::parameters;
use std::fmt::Write as _;

/// BLAKE3 over every parameter's name and f32 values, as hexadecimal digits.
pub fn weights_hash<M: Module>(model: &M) -> String {
    let mut hasher = blake3::Hasher::new();
    for (parameter, values) in parameters::list(model).iter().zip(parameters::values(model)) {
        hasher.update(parameter.name.as_bytes());
        let bytes: Vec<u8> = parameters::to_host(values).iter().flat_map(|value| value.to_le_bytes()).collect();
        hasher.update(&bytes);
    }
    hasher.finalize().to_hex().to_string()
}

/// Writes `model/`, aside and renamed.
pub(crate) fn write<M: Learner>(
    run: &Run,
    model: &M,
    kind: Kind,
    recipe: &Recipe,
    prepared: &Prepared,
    held_out: &[(String, HeldOutLoss)],
) -> Result<(), TrainError> {
    run.replace_model(|folder| {
        model.export(folder, prepared.tokenizer().end_of_text())?;
        prepared.tokenizer().save(folder)?;
        let card = card(run, model, kind, recipe, prepared, held_out);
        Ok(weights::write_synced(&folder.join("README.md"), card.as_bytes())?)
    })
}

/// The model card: what it is, what it was trained on, how well it predicts, how to use it.
fn card<M: Learner>(
    run: &Run,
    model: &M,
    kind: Kind,
    recipe: &Recipe,
    prepared: &Prepared,
    held_out: &[(String, HeldOutLoss)],
) -> String {
    let name = run.folder().file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
    let (pipeline, what, class) = match kind {
        Kind::Causal => ("text-generation", "A causal language model", "AutoModelForCausalLM"),
        Kind::Masked if recipe.objective.next_sentence => {
            ("fill-mask", "A model of masked words and next sentences", "AutoModelForPreTraining")
        }
        Kind::Masked => ("fill-mask", "A masked language model", "AutoModelForMaskedLM"),
        Kind::Pairs => ("translation", "An encoder and decoder", "AutoModelForSeq2SeqLM"),
        Kind::Spans => ("text2text-generation", "An encoder and decoder", "AutoModelForSeq2SeqLM"),
    };
    let mut card = format!(
        "---\nlibrary_name: transformers\npipeline_tag: {pipeline}\ntags:\n- loam\n---\n\n# {name}\n\n\
         {what} of {} parameters with a context of {} tokens, trained with Loam {}.\n\n\
         ## Training data\n\n| source | documents | exact duplicates | tokens | share of training tokens |\n|-|-:|-:|-:|-:|\n",
        model.num_params(),
        model.describe().context,
        env!("CARGO_PKG_VERSION"),
    );
    for source in prepared.sources() {
        let _ = writeln!(
            card,
            "| {} | {} | {} | {} | {:.1} % |",
            source.name.replace('|', "\\|"),
            source.documents,
            source.duplicate_documents,
            source.tokens,
            100.0 * source.share
        );
    }
    card.push_str(
        "\n## Held-out loss\n\n| domain | nats a token | bits a byte | accuracy | tokens |\n|-|-:|-:|-:|-:|\n",
    );
    for (domain, loss) in held_out {
        let _ = writeln!(
            card,
            "| {} | {:.4} | {:.4} | {} | {} |",
            domain.replace('|', "\\|"),
            loss.per_token(),
            loss.bits_per_byte(),
            loss.accuracy().map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share)),
            loss.tokens
        );
    }
    for (domain, next) in held_out.iter().filter_map(|(domain, loss)| Some((domain, loss.next_sentences?))) {
        let _ = write!(
            card,
            "\nOf {} pairs of sentences in {domain}, {:.1} % are told rightly as following each other or not ({:.4} nats a \
             pair).\n",
            next.pairs,
            100.0 * next.accuracy(),
            next.loss()
        );
    }
    let _ = write!(
        card,
        "\n## Use\n\n```python\nfrom transformers import {class}, AutoTokenizer\n\n\
         tokenizer = AutoTokenizer.from_pretrained(\".\")\nmodel = {class}.from_pretrained(\".\")\n```\n\n\
         Data hash `{}`, seed {}.\n",
        prepared.hash(),
        recipe.train.seed
    );
    card
}
