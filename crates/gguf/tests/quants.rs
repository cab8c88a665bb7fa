//! Every kind of block against the reference (`fixtures/quants.py`).

use loam_gguf::{TensorKind, dequantize, quantize};
use std::collections::HashSet;

fn bytes(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn numbers(text: &str) -> Vec<f32> {
    bytes(text).as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn blocks_equal_the_reference() {
    let mut seen = HashSet::new();
    for line in include_str!("fixtures/quants.txt").lines() {
        let parts: Vec<&str> = line.split(' ').collect();
        let kind = TensorKind::ALL.into_iter().find(|kind| kind.name() == parts[1]).unwrap();
        seen.insert((parts[0], kind));
        if parts[0] == "quantize" {
            assert_eq!(quantize(kind, &numbers(parts[2])).unwrap(), bytes(parts[3]), "{}", kind.name());
            continue;
        }
        let (found, expected) = (dequantize(kind, &bytes(parts[2])), numbers(parts[3]));
        assert_eq!(found.len(), expected.len());
        for (at, (a, b)) in found.iter().zip(&expected).enumerate() {
            assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{}: element {at} is {a} and should be {b}", kind.name());
        }
    }
    assert_eq!(seen.len(), 12 + 4, "every kind is tested");
}

#[test]
fn many_blocks_are_as_one_after_the_other() {
    let block: Vec<u8> = (0..210).map(|i| (i * 37 % 251) as u8).collect();
    let one = dequantize(TensorKind::Q6_K, &block);
    let many = dequantize(TensorKind::Q6_K, &block.repeat(301));
    assert!(many.chunks(256).all(|found| found.iter().zip(&one).all(|(a, b)| a.to_bits() == b.to_bits())));
    assert_eq!(dequantize(TensorKind::F64, &0.5_f64.to_le_bytes()), [0.5]);
    assert_eq!(quantize(TensorKind::Q6_K, &one), None);
}
