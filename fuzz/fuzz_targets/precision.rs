//! Any bytes as numbers of every precision, there and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loam_fuzz::readers::precision(bytes));
