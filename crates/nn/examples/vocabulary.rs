//! A vocabulary of 10,000 words to which three special words are added afterwards.
//!
//! `cargo run --release -p loam-nn --example vocabulary`

use burn::tensor::{Device, Int, Tensor};
use loam_nn::ops;
use std::panic;

const ROWS: usize = 10_000;

/// The row of an embedding table of 10,000 rows for an id, or what Loam says instead. Row n holds the number n.
pub fn row_of(id: i64) -> Result<f32, String> {
    let device = Device::flex();
    let table = Tensor::<1, Int>::arange(0..ROWS as i64, &device).float().reshape([ROWS, 1]);
    let ids = Tensor::<2, Int>::from_data([[id]], &device);
    let quiet = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let found =
        panic::catch_unwind(panic::AssertUnwindSafe(|| ops::embed_tokens(table, ids, 1.0).into_scalar::<f32>()));
    panic::set_hook(quiet);
    found.map_err(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        text.or_else(|| cause.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })
}

/// Prints the numbers that the page shows.
pub fn main() {
    for (name, id) in [("the last word", 9_999), ("<PAD>", 10_000), ("<EOS>", 10_001), ("<UNK>", 10_002)] {
        match row_of(id) {
            Ok(row) => println!("{name:<13} id {id:>6}: row {row:.0}"),
            Err(message) => println!("{name:<13} id {id:>6}: {message}"),
        }
    }
    println!(
        "elsewhere: an index that is clamped reads row {}, one that wraps around reads row {}",
        ROWS - 1,
        10_002 % ROWS
    );
}
