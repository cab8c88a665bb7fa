//! Any bytes as a GGUF file: header, metadata, and every tensor dequantized.
//!
//!     cargo +nightly fuzz run gguf -- -rss_limit_mb=2048 -max_total_time=60
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = loam_gguf::Gguf::check(bytes);
});
