//! The workloads of the benchmark compute what PyTorch computes, on each path.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::ArrayD;
use tapegrad::data::Npz;

fn program() -> PathBuf {
    let tests = env::current_exe().unwrap();
    let bench =
        tests.parent().unwrap().parent().unwrap().join("examples/bench").with_extension(env::consts::EXE_EXTENSION);
    assert!(bench.exists(), "{} is not built: run `cargo build --examples` first", bench.display());
    bench
}

/// Returns the loss of a workload in double precision, and what a step computes besides.
fn computed(directory: &Path, options: &str) -> (f64, Vec<ArrayD<f64>>) {
    let file = directory.join("computed.npz");
    let status = Command::new(program())
        .args(options.split_whitespace())
        .args(["--dtype", "f64", "--threads", "1", "--save"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(status.success(), "{options}");
    let mut file = Npz::open(file).unwrap();
    let count = file.names().len();
    let loss = file.array::<f64>("loss").unwrap().sum();
    (loss, (0..count - 1).map(|k| file.array(&k.to_string()).unwrap()).collect())
}

/// Returns the sum of the elements, each with a weight of its own: an element in a wrong place changes it.
fn weighted(array: &ArrayD<f64>) -> f64 {
    array.iter().enumerate().map(|(i, x)| x * ((i * 7919 % 1009) as f64 / 1009.0 - 0.5)).sum()
}

fn norm(array: &ArrayD<f64>) -> f64 {
    array.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Loss, weighted sums and norms of the gradients (of W11: the products), by PyTorch 2.15 in float64.
type Reference = (&'static str, f64, &'static [(f64, f64)]);

const REFERENCES: [Reference; 5] = [
    (
        "W3",
        2.4055222136973393,
        &[
            (-0.23256494328300437, 1.4442333867996113),
            (0.0048303325067026, 0.09439112923665094),
            (0.20393817754055338, 0.45926335741860136),
            (0.055505663146030705, 0.11629786166793549),
        ],
    ),
    (
        "W9",
        2.5633958504334977,
        &[
            (0.024645926476743255, 0.5680118057277603),
            (0.010006778987187534, 0.21584026660848502),
            (-0.07890056837453022, 2.33386473288421),
            (0.012645094822883054, 0.19356340948751383),
            (0.20692679747826026, 2.802621371033395),
            (-0.016171935330669754, 0.2320955447711603),
        ],
    ),
    (
        "W10",
        2.3019042902865072,
        &[
            (-0.06937342999954428, 0.1507345623647819),
            (0.006387495888584155, 0.06619581661054957),
            (-0.0158961738077904, 0.06738978588339406),
            (0.02171978670109362, 0.19085618164317988),
            (0.029356951049272155, 0.14187375243708583),
        ],
    ),
    (
        "W11",
        2.4055222136973393,
        &[
            (-1.0284519309011135, 37.870942637035654),
            (0.28548006036973783, 2.674926592341333),
            (0.3394760469518987, 13.98533065146881),
            (-1.2839869204617114, 2.902943434100973),
        ],
    ),
    ("W12", 8.742467363222445, &[(19.712104200020136, 66.02046662630079)]),
];

#[test]
fn workloads_compute_what_pytorch_computes() {
    let directory = tempfile::tempdir().unwrap();
    for (workload, loss, gradients) in REFERENCES {
        let variants: &[&str] = match workload {
            "W11" => &["", "--variant fwdrev", "--variant revrev"],
            "W12" => &["", "--variant scalars"],
            _ => &[""],
        };
        for path in ["tape", "program"] {
            for variant in variants {
                let options = format!("--workload {workload} --path {path} {variant}");
                let (found, arrays) = computed(directory.path(), &options);
                assert!((found / loss - 1.0).abs() < 1e-12, "{options}: the loss is {found}, not {loss}");
                assert_eq!(arrays.len(), gradients.len(), "{options}");
                for (k, (array, &(sum, length))) in arrays.iter().zip(gradients).enumerate() {
                    let errors = [weighted(array) - sum, norm(array) - length];
                    assert!(
                        errors.iter().all(|error| error.abs() < 1e-11 * length),
                        "{options}, array {k}: {errors:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn all_paths_of_a_workload_compute_the_same() {
    let directory = tempfile::tempdir().unwrap();
    for (workload, paths) in [
        ("W4", &["program", "manual", "chunked", "manual-chunked"][..]),
        ("W5", &["program", "manual", "chunked", "manual-chunked"]),
        ("W8", &["program", "manual"]),
    ] {
        let (loss, gradients) = computed(directory.path(), &format!("--workload {workload}"));
        assert!(!gradients.is_empty());
        for path in paths {
            let (other, others) = computed(directory.path(), &format!("--workload {workload} --path {path}"));
            assert!((other / loss - 1.0).abs() < 1e-13, "{workload} {path}: the loss is {other}, not {loss}");
            assert_eq!(others.len(), gradients.len(), "{workload} {path}");
            for (a, b) in others.iter().zip(&gradients) {
                assert!(norm(&(a - b)) <= 1e-12 * norm(b), "{workload} {path}: {a} {b}");
            }
        }
    }
}
