//! The workloads of the benchmark compute what PyTorch computes, on each path, and their floors have the flops and bytes
//! that follow from the shapes.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::ArrayD;
use serde_json::Value;
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

/// Returns the lines that `bench --floors` prints: the machine, and the workloads.
fn floors(dtype: &str) -> Vec<Value> {
    let output = Command::new(program())
        .args(["--floors", "--seconds", "0", "--memory", "1", "--threads", "1", "--dtype", dtype])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn floors_follow_from_the_shapes() {
    // By hand: a layer's three products, without the input's gradient in the first layer, and 2 for each parameter.
    let (big, small) = (18_858, 128);
    let flops = [
        ("W1", 2 * (2 * big * 784 * 3) + 2 * (785 * 3)),
        ("W2", 2 * (2 * big * 784 * 100) + 3 * (2 * big * 100 * 3) + 2 * (785 * 100 + 101 * 3)),
        ("W3", 2 * (2 * small * 784 * 100) + 3 * (2 * small * 100 * 10) + 2 * (785 * 100 + 101 * 10)),
        (
            "W6",
            2 * (2 * 512 * 784 * 1024)
                + 3 * (2 * 512 * 1024 * 1024)
                + 3 * (2 * 512 * 1024 * 10)
                + 2 * (785 * 1024 + 1025 * 1024 + 1025 * 10),
        ),
    ];
    for (dtype, size) in [("f32", 4), ("f64", 8)] {
        let lines = floors(dtype);
        let (machine, workloads) = lines.split_first().unwrap();
        for field in ["gflops", "multiply_add_ns", "cache_gb_s", "memory_gb_s"] {
            assert!(machine[field].as_f64().unwrap() > 0.0, "{field}: {machine}");
        }
        assert_eq!(workloads.len(), 12);
        for (k, line) in workloads.iter().enumerate() {
            let number = |field: &str| line[field].as_f64().unwrap();
            let name = format!("W{}", k + 1);
            assert_eq!((line["workload"].as_str(), line["dtype"].as_str()), (Some(&*name), Some(dtype)));
            for field in ["flops", "bytes", "gflops", "gb_s", "floor_us"] {
                assert!(number(field) > 0.0, "{field}: {line}");
            }
            assert_eq!(number("floor_us"), number("flops_us").max(number("bytes_us")), "{line}");
            let latency_decides = ["W4", "W5", "W8", "W12"].contains(&&*name);
            assert_eq!(line["chain"].as_u64().is_some(), latency_decides, "{line}");
        }
        let field = |name: &str, field: &str| {
            let line = workloads.iter().find(|line| line["workload"] == name).unwrap();
            line[field].as_u64().unwrap()
        };
        for (name, flops) in flops {
            assert_eq!(field(name, "flops"), flops, "{name}");
        }
        // The batch, and four times the parameters; W7: the input and its gradient.
        assert_eq!(field("W1", "bytes"), size * (18_858 * 784 + 4 * 785 * 3));
        assert_eq!(field("W3", "bytes"), size * (128 * 784 + 4 * (785 * 100 + 101 * 10)));
        assert_eq!(field("W7", "bytes"), size * 2_000_000);
    }
}

#[test]
fn the_table_of_floors_has_the_numbers_that_are_printed() {
    let source = include_str!("../examples/bench/floor.rs");
    let lines = floors("f32");
    for line in &lines[1..] {
        let name = line["workload"].as_str().unwrap();
        let flops = line["flops"].as_u64().unwrap();
        let moved = line["bytes"].as_u64().unwrap() / 4;
        let (flops, moved) = (grouped(flops), grouped(moved));
        let row = source.lines().find(|row| row.starts_with(&format!("//! | {name} | `"))).unwrap();
        assert!(row.contains(&format!(": {flops} |")), "{name}: {flops} flops are not in {row}");
        assert!(row.ends_with(&format!(": {moved} |")), "{name}: {moved} numbers are not in {row}");
    }
}

/// Returns a number with commas between groups of three digits.
fn grouped(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}
