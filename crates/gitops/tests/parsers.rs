//! The same entry points that the fuzzers of `fuzz/` have, with few and small inputs: what comes in from
//! outside never makes them panic.

use std::fs;
use std::path::Path;

use nico_gitops::fuzzing;
use proptest::prelude::*;

/// What the fuzzers begin with.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let entries = fs::read_dir(folder).expect("seeds");
    entries
        .map(|entry| fs::read(entry.expect("a seed").path()).expect("a seed"))
        .collect()
}

#[test]
fn the_seeds_are_no_trouble() {
    for seed in seeds("load") {
        fuzzing::load(&seed);
    }
    for seed in seeds("builds") {
        fuzzing::build(str::from_utf8(&seed).unwrap());
    }
}

/// Some lines of a seed are left out, doubled, indented or cut.
fn changed(seed: &str, changes: &[(usize, u8)]) -> String {
    let mut lines: Vec<String> = seed.lines().map(str::to_owned).collect();
    for (place, change) in changes {
        if lines.is_empty() {
            break;
        }
        let index = place % lines.len();
        let line = lines[index].clone();
        match change % 6 {
            0 => drop(lines.remove(index)),
            1 => lines.insert(index, line),
            2 => lines[index] = format!("  {line}"),
            3 => lines[index] = line.trim_start().to_owned(),
            4 => lines[index] = line.split(':').next().unwrap_or_default().to_owned(),
            _ => {
                let other = lines[(place / 7) % lines.len()].clone();
                let value = other.split_once(':').map_or("x", |(_, value)| value);
                let key = line.split(':').next().unwrap_or_default();
                lines[index] = format!("{key}:{value}");
            }
        }
    }
    lines.join("\n") + "\n"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_repository_is_no_trouble(
        seed in prop::sample::select(seeds("builds")),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8),
    ) {
        fuzzing::build(&changed(str::from_utf8(&seed).unwrap(), &changes));
    }

    #[test]
    fn a_changed_file_is_no_trouble(
        seed in prop::sample::select(seeds("load")),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..8),
    ) {
        fuzzing::load(changed(str::from_utf8(&seed).unwrap(), &changes).as_bytes());
    }
}
