//! The documentation: the commands that it names exist, and every public item shows an example.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `src/` whose public items a user can name, except those of `sealed` modules.
const PUBLIC: &[&str] = &[
    "blame",
    "check",
    "chunks",
    "data",
    "draw",
    "files",
    "nn",
    "optim",
    "parallel",
    "param",
    "program",
    "reduction",
    "shape",
    "tape",
    "threads",
    "train",
    "transform",
    "var",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the file is there, and UTF-8")
}

/// Returns the files below a folder that have this extension, sorted.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the entry is readable").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|of_file| of_file == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns the commands of a page: lines of code and code in the text that begin with `cargo run` or `cargo test`.
fn commands(page: &str) -> Vec<String> {
    let code = page.lines().flat_map(|line| line.split('`')).map(|code| code.trim().trim_start_matches("//! "));
    code.filter(|code| code.starts_with("cargo run") || code.starts_with("cargo test")).map(String::from).collect()
}

/// Returns what a command names that does not exist.
fn missing(command: &str) -> Vec<String> {
    let manifest = read(&root().join("Cargo.toml"));
    let modules = read(&root().join("tests/all.rs"));
    let words: Vec<&str> = command.split_whitespace().collect();
    let after = |option: &str| words.iter().position(|word| *word == option).and_then(|place| words.get(place + 1));
    let mut missing = Vec::new();
    if let Some(example) = after("--example").filter(|example| **example != "NAME") {
        let folder = root().join("examples");
        if !folder.join(format!("{example}.rs")).exists() && !folder.join(example).join("main.rs").exists() {
            missing.push(format!("example {example}"));
        }
    }
    for feature in after("--features").into_iter().flat_map(|features| features.split(',')) {
        if !manifest.contains(&format!("\n{feature} = [")) {
            missing.push(format!("feature {feature}"));
        }
    }
    if let Some(profile) = after("--profile").filter(|profile| !manifest.contains(&format!("[profile.{profile}]"))) {
        missing.push(format!("profile {profile}"));
    }
    if let Some(&test) = after("--test") {
        if !manifest.contains(&format!("name = \"{test}\"\npath")) {
            missing.push(format!("test {test}"));
        }
        // The words behind it are modules.
        let place = words.iter().position(|word| *word == test).unwrap_or(0);
        let filters = words[place + 1..].iter().filter(|word| **word != "--");
        let unknown = filters.filter(|word| !modules.contains(&format!("mod {};", word.trim_end_matches("::"))));
        missing.extend(unknown.map(|word| format!("tests of {word}")));
    }
    missing
}

#[test]
fn the_commands_of_the_pages_exist() {
    let mut pages = files(&root().join("src"), "md");
    pages.push(root().join("README.md"));
    let all: BTreeSet<String> = pages.iter().flat_map(|page| commands(&read(page))).collect();
    assert!(all.len() > 20, "only {} commands are found", all.len());
    let wrong: Vec<String> = all
        .iter()
        .map(|command| (command, missing(command)))
        .filter(|(_, missing)| !missing.is_empty())
        .map(|(command, missing)| format!("\n    {command}: no {}", missing.join(", no ")))
        .collect();
    assert!(wrong.is_empty(), "commands that name what is not there:{}", wrong.concat());
}

/// Returns the public items of a file that have no example, and do not say where there is one.
fn without_example(text: &str) -> Vec<String> {
    let (mut found, mut docs, mut hidden, mut attribute) = (Vec::new(), String::new(), false, false);
    // The indentation of a module of this file that nobody outside can name.
    let mut sealed: Option<usize> = None;
    for line in text.lines().take_while(|line| *line != "#[cfg(test)]") {
        let (words, indent) = (line.trim(), line.len() - line.trim_start().len());
        if let Some(outer) = sealed {
            sealed = Some(outer).filter(|&outer| words.is_empty() || indent > outer);
            continue;
        }
        if attribute {
            attribute = !words.ends_with(")]");
            continue;
        }
        if words.starts_with("mod ") && words.ends_with('{') {
            sealed = Some(indent);
        } else if words.starts_with("///") || words.starts_with("#[doc") {
            docs += words;
            docs.push('\n');
            hidden |= words == "#[doc(hidden)]";
            continue;
        } else if words.starts_with("#[") {
            attribute = !words.ends_with(']') && !words.contains("] //");
            continue;
        }
        // The documentation of a `$Name` comes from the rows of its macro.
        let item = words.strip_prefix("pub ").filter(|item| !item.contains(" $"));
        let item = item.map(|item| item.trim_start_matches("const "));
        let kinds = ["fn ", "struct ", "enum ", "trait ", "type "];
        let is_item = item.is_some_and(|item| kinds.iter().any(|kind| item.starts_with(kind)));
        if is_item && !hidden && !docs.contains("# Example") {
            found.push(words.split(['(', '{', '<', '=', ':']).next().unwrap_or(words).trim().to_string());
        }
        docs.clear();
        hidden = false;
    }
    found
}

#[test]
fn every_public_item_shows_an_example() {
    let source = root().join("src");
    let mut bare = Vec::new();
    for path in files(&source, "rs") {
        let name = path.strip_prefix(&source).expect("the file is in the folder").display().to_string();
        let room = name.split(['/', '.']).next().unwrap_or_default();
        if PUBLIC.contains(&room) {
            bare.extend(without_example(&read(&path)).into_iter().map(|item| format!("\n    {name}: {item}")));
        }
    }
    assert!(bare.is_empty(), "public items without an example:{}", bare.concat());
}

#[test]
fn the_checks_of_the_documentation_can_fail() {
    assert_eq!(missing("cargo run --release --example no_such -- --json"), ["example no_such"]);
    assert_eq!(
        missing("cargo test --features none,rayon --test all -- chunks nowhere"),
        ["feature none", "tests of nowhere"]
    );
    let text = "/// # Example\npub fn shown() {}\n/// Text.\n#[must_use]\npub fn bare<T>() {}\nmod sealed {\n    pub struct S;\n}\n";
    assert_eq!(without_example(text), ["pub fn bare"]);
}
