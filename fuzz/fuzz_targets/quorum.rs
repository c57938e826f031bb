#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ottla_fuzz_targets::quorum::quorum(data));
