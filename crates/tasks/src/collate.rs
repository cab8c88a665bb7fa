//! Texts of different lengths side by side.

use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_corpus::Window;
use loam_models::bert::Inputs;

/// Windows as a model reads them, short ones filled up.
pub(crate) fn inputs(windows: &[&Window], padding: usize, device: &Device) -> Inputs {
    let rows: Vec<&[u32]> = windows.iter().map(|window| window.ids.as_slice()).collect();
    let in_pairs = windows.iter().any(|window| window.types.iter().any(|segment| *segment > 0));
    let types = in_pairs.then(|| {
        let types: Vec<&[u32]> = windows.iter().map(|window| window.types.as_slice()).collect();
        filled(&types, 0, device)
    });
    Inputs { token_types: types, ..rows_of_ids(&rows, padding, device) }
}

/// Rows of ids as a model reads them, short ones filled up.
pub(crate) fn rows_of_ids(rows: &[&[u32]], padding: usize, device: &Device) -> Inputs {
    let lengths = Some(rows.iter().map(|row| row.len()).collect());
    Inputs { ids: filled(rows, padding, device), token_types: None, lengths }
}

/// `[rows, longest]`.
fn filled(rows: &[&[u32]], filler: usize, device: &Device) -> Tensor<2, Int> {
    let time = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let of = |row: &&[u32]| {
        let values = row.iter().map(|&value| i64::from(value));
        values.chain(std::iter::repeat(filler as i64)).take(time).collect::<Vec<i64>>()
    };
    let values: Vec<i64> = rows.iter().flat_map(of).collect();
    Tensor::from_data(TensorData::new(values, [rows.len(), time]), device)
}
