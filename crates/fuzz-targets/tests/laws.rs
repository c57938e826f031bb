//! Every target over its seeds, fixed mutations of them, and inputs that once broke a law.

use std::panic::catch_unwind;
use std::path::Path;

use ottla_fuzz_targets::mutate::{Numbers, mutated};
use ottla_fuzz_targets::{TARGETS, Target};

fn check(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    seeds.iter().for_each(|seed| run(target, seed));
    let mut numbers = Numbers::new(0x5eed_0000_0000_0001);
    for _ in 0..target.rounds {
        run(target, &mutated(&seeds, &mut numbers));
    }
    for input in kept(name) {
        run(target, &input);
    }
}

fn run(target: &Target, input: &[u8]) {
    if let Err(broken) = catch_unwind(|| (target.run)(input)) {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{} breaks a law with {} bytes: {hex}", target.name, input.len());
        std::panic::resume_unwind(broken);
    }
}

/// The files in `tests/corpus/<target>/`: what once broke a law.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a readable file")).collect()
}

macro_rules! laws {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_target_is_checked_and_has_its_fuzz_target() {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
            for name in names {
                let file = format!("{}/../../fuzz/fuzz_targets/{name}.rs", env!("CARGO_MANIFEST_DIR"));
                assert!(Path::new(&file).exists(), "{file} is missing");
            }
        }
    };
}

laws!(frame, request, response, record, batch, gzip, snappy, lz4, zstd, log, quorum, properties, addresses);
