//! Any bytes as a file of word vectors, or of questions about some.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loam_fuzz::readers::fasttext(bytes));
