//! Readers on mutated files: an error or a result, never a panic.
//!
//! `PROPTEST_CASES=100000 cargo test --test all fuzz::` tries more.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use ndarray::{Array2, array};
use ndarray_npy::WriteNpyExt;
use proptest::prelude::*;
use tapegrad::Param;
use tapegrad::data::{Csv, Npz, SafeTensors, load_data, load_idx, load_usps};
use tapegrad::files::{Saved, ToSave};
use tapegrad::optim::{Adam, Optimizer};
use tempfile::TempDir;

/// A change of the bytes of a file. Places are shares of its length.
#[derive(Clone, Debug)]
enum Change {
    Set(f64, u8),
    Flip(f64, u8),
    /// The extremes of lengths and offsets.
    Fill(f64, usize, u8),
    Cut(f64),
    Remove(f64, usize),
    Repeat(f64, usize),
    Insert(f64, Vec<u8>),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let place = || prop_oneof![0.0..1.0, 0.0..0.1_f64, 0.9..1.0_f64];
    let change = prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (place(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, 1 << bit)),
        (place(), 1..9_usize, prop_oneof![Just(0), Just(0xff), Just(0x7f), Just(b'9'), Just(b'{')])
            .prop_map(|(at, count, byte)| Change::Fill(at, count, byte)),
        place().prop_map(Change::Cut),
        (place(), 1..40_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (place(), 1..40_usize).prop_map(|(at, count)| Change::Repeat(at, count)),
        (place(), prop::collection::vec(any::<u8>(), 1..12)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
    ];
    prop::collection::vec(change, 1..5)
}

fn mutated(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        let at = |share: &f64| (share * bytes.len() as f64) as usize;
        let end = |at: usize, count: &usize| bytes.len().min(at + count);
        match change {
            _ if bytes.is_empty() => {}
            Change::Set(share, byte) => {
                let at = at(share);
                bytes[at] = *byte;
            }
            Change::Flip(share, mask) => {
                let at = at(share);
                bytes[at] ^= mask;
            }
            Change::Fill(share, count, byte) => {
                let (at, end) = (at(share), end(at(share), count));
                bytes[at..end].fill(*byte);
            }
            Change::Cut(share) => bytes.truncate(at(share)),
            Change::Remove(share, count) => drop(bytes.drain(at(share)..end(at(share), count))),
            Change::Repeat(share, count) => {
                let part = bytes[at(share)..end(at(share), count)].to_vec();
                let at = at(share);
                bytes.splice(at..at, part);
            }
            Change::Insert(share, new) => {
                let at = at(share);
                bytes.splice(at..at, new.iter().copied());
            }
        }
    }
    bytes
}

fn npy(array: &Array2<f64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).unwrap();
    bytes
}

type Named = Vec<(String, Param<f64>)>;

fn run() -> (Named, Adam<f64>) {
    let named = vec![
        ("0.weight".into(), Param::new(array![[1.0, 2.0], [3.0, 4.0]])),
        ("0.bias".into(), Param::new(array![5.0])),
    ];
    let adam = Adam::new(named.iter().map(|(_, parameter): &(String, Param<f64>)| parameter), 0.1);
    (named, adam)
}

/// A saved run.
fn saved(extension: &str) -> Vec<u8> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(format!("run.{extension}"));
    let (named, mut adam) = run();
    named[0].1.accumulate_grad(&named[0].1.value());
    adam.step();
    ToSave::new().parameters(&named).optimizer(&adam, &named).count("pass", 3).write(&path).unwrap();
    fs::read(path).unwrap()
}

/// Reads a mutated run. What does not fit changes nothing.
fn restore(directory: &Path, extension: &str, bytes: &[u8]) {
    let path = directory.join(format!("run.{extension}"));
    fs::write(&path, bytes).unwrap();
    let (named, mut adam) = run();
    if let Ok(saved) = Saved::read(&path) {
        let _ = (saved.count("pass"), saved.number("pass"), saved.numbers("pass"), saved.generator("pass"));
        if saved.restore(&named, &mut adam).is_err() {
            assert_eq!(*named[0].1.value(), array![[1.0, 2.0], [3.0, 4.0]].into_dyn());
            assert_eq!(*named[1].1.value(), array![5.0].into_dyn());
            assert_eq!(tapegrad::optim::Stateful::state(&adam), tapegrad::optim::Stateful::state(&run().1));
        }
    }
}

proptest! {
    #![proptest_config(crate::common::cases(60))]

    #[test]
    fn saved_runs(changes in changes()) {
        let directory = TempDir::new().unwrap();
        for extension in ["npz", "safetensors"] {
            restore(directory.path(), extension, &mutated(&saved(extension), &changes));
        }
        if let Ok(mut file) = Npz::open(directory.path().join("run.npz")) {
            file.names().iter().for_each(|name| drop((file.array::<f32>(name), file.array::<f64>(name))));
        }
        if let Ok(file) = SafeTensors::open(directory.path().join("run.safetensors")) {
            file.names().iter().for_each(|name| drop((file.array::<f32>(name), file.array::<f64>(name))));
        }
    }

    #[test]
    fn data_files(changes in changes(), which in 0..4_usize) {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        let arrays = [array![[1.0, 2.0], [3.0, 4.0]], array![[0.0], [1.0]], array![[5.0, 6.0]], array![[1.0]]];
        for (k, name) in ["x.npy", "y.npy", "xt.npy", "yt.npy"].into_iter().enumerate() {
            let bytes = npy(&arrays[k]);
            fs::write(path(name), if k == which { mutated(&bytes, &changes) } else { bytes }).unwrap();
        }
        let _ = load_data::<f32>(directory.path());

        let text = b"2 3\n1 0 1.5 2\n0 2 2 0\n-1\n";
        fs::write(path("train.txt"), mutated(text, &changes)).unwrap();
        fs::write(path("test.txt"), text).unwrap();
        let _ = load_usps::<f32>(directory.path());

        let (images, labels) = ([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4], [0, 0, 8, 1, 0, 0, 0, 2, 1, 0]);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&images).unwrap();
        let compressed = encoder.finish().unwrap();
        for (images, labels) in [
            (mutated(&images, &changes), labels.to_vec()),
            (images.to_vec(), mutated(&labels, &changes)),
            (mutated(&compressed, &changes), labels.to_vec()),
        ] {
            fs::write(path("images"), images).unwrap();
            fs::write(path("labels"), labels).unwrap();
            let _ = load_idx::<f32>(path("images"), path("labels"));
        }

        fs::write(path("a.csv"), mutated(b"a,b,kind\n1,2.5,\"x\"\n-3,4e2,y\n", &changes)).unwrap();
        let _ = (Csv::new().table::<f32>(path("a.csv")), Csv::new().samples::<f32>(path("a.csv"), "kind"));
        let _ = Csv::new().without_header().samples::<f64>(path("a.csv"), "2");
    }
}
