//! Any bytes as a file of documents.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loam_fuzz::readers::documents(bytes));
