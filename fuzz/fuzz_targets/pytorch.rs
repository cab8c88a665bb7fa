//! Any bytes as a PyTorch file: archive, pickle, views of storages.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loam_fuzz::readers::pytorch(bytes));
