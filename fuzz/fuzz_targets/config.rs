//! Any bytes as the `config.json` of a model.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loam_fuzz::readers::config(bytes));
