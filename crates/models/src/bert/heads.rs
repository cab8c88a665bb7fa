//! What the heads over an encoder have in common: dense layers that are drawn or read, and what is said of a file that
//! lacks one.

use super::config::BertConfig;
use super::encoder::Bert;
use super::layout::Family;
use super::read;
use crate::configuration::{File, check_class};
use crate::error::ModelError;
use crate::weights::{self, Layout, Tensors};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use loam_nn::initialize::{Initializer, mix};
use loam_nn::layers::Dense;
use loam_nn::parameters;
use std::path::Path;

/// A new dense layer of a head, drawn as BERT's weights are; `number` tells the layers of a head apart.
pub(super) fn dense(config: &BertConfig, outputs: usize, seed: u64, number: u64, device: &Device) -> Dense {
    let mut draw = Initializer::new(mix(mix(seed) ^ mix(number + 0x6865_6164)), device);
    Dense::new(config.hidden_size, outputs, config.initializer_range, &mut draw)
}

/// The encoder with a pooler, a new one where it has none.
pub(super) fn pooled(bert: Bert, seed: u64, device: &Device) -> Bert {
    if bert.has_pooler() { bert } else { bert.with_pooler(seed, device) }
}

/// The first token's hidden state of every text, `[1, batch, width]`.
pub(super) fn first(hidden: Tensor<3>) -> Tensor<3> {
    let [batch, _, width] = hidden.dims();
    hidden.narrow(1, 0, 1).reshape([1, batch, width])
}

/// Reads the model of a folder whose class in transformers ends with `class`. `build` makes one of its shape out of the
/// configuration and the file; `outputs` of the head are counted before memory is taken for it.
pub(super) fn load<M: Module>(
    folder: &Path,
    class: &str,
    outputs: impl FnOnce(&File) -> Result<usize, ModelError>,
    build: impl FnOnce(BertConfig, &File) -> Result<M, ModelError>,
) -> Result<M, ModelError> {
    let (file, config) = read(folder)?;
    let family = config.family;
    check_class(&file, &format!("{}{class}", family.class()))?;
    let head = (config.hidden_size as u64).checked_mul(outputs(&file)? as u64);
    let path = file.weights(config.parameters().zip(head).and_then(|(body, head)| body.checked_add(head)))?;
    let model = build(config, &file)?;
    let names = Tensors::open(&path)?.names()?;
    let of_head = parameters::list(&model).into_iter().map(|parameter| parameter.name);
    let mut of_head = of_head.filter(|name| !name.trim_start_matches("masked.").starts_with("bert.")).peekable();
    let has = |name: &String| family.names(name).iter().any(|stored| names.contains(stored));
    if of_head.peek().is_some() && !of_head.any(|name| has(&name)) {
        let missing = parameters::list(&model).into_iter().map(|parameter| parameter.name);
        let missing = missing.filter(|name| !name.starts_with("bert.")).map(|name| family.stored(&name));
        return Err(ModelError::format(
            &path,
            format!(
                "lacks the head of {}{class}: {}; one that has it is read, and a new head is made only where one is \
                 asked for",
                family.class(),
                missing.collect::<Vec<_>>().join(", ")
            ),
        ));
    }
    let layout = Layout {
        names: &|name| family.names(name),
        passed_over: &|name| Family::is_copy(name) || Family::is_pooler(name) || Family::is_head(name),
    };
    weights::load_as(model, &path, &layout)
}
