//! Any bytes as a safetensors file, every tensor read.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loam_fuzz::readers::safetensors(bytes));
