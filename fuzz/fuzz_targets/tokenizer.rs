//! Any bytes as one of a tokenizer's files; the first byte says which.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loam_fuzz::readers::tokenizer(bytes));
