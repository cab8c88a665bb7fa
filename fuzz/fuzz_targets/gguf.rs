//! Any bytes as a GGUF file: header, metadata, and every tensor dequantized.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loam_fuzz::readers::gguf(bytes));
