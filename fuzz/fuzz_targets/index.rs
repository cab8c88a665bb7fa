//! Any bytes as the index of two shards.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loam_fuzz::readers::index(bytes));
