//! The plan of the house: how the files under `src/` import each other, and how large they are.
//!
//! An import is a path that begins with `crate::`, `super::` or a child module, in a `use` or elsewhere; `mod child;` alone
//! is not one. It leads to the file of the last module in the path. A name that a `mod.rs` re-exports leads to that `mod.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The rooms, from the ground floor up: the folders and files of `src/`. A room imports from floors below its own alone.
const FLOORS: &[&[&str]] = &[
    &["number", "shape", "hash", "memory", "error", "reduction", "threads"],
    &["input", "kernel"],
    &["op"],
    &["scalar"],
    &["param"],
    &["tape", "optim", "data"],
    &["sweep"],
    &["blame", "draw"],
    &["var"],
    &["transform", "nn", "program", "chunks"],
    &["train", "check", "parallel", "files"],
    &["report"],
    &["lib"],
];

/// The length that no file exceeds, except the table.
const LONGEST: usize = 700;
const TABLE: &str = "op/rows.rs";

struct File {
    /// The path below `src/`.
    name: String,
    text: String,
}

impl File {
    /// Returns the path of the file's module: none for `lib.rs`, one name for `op/mod.rs`, two for `op/rows.rs`.
    fn module(&self) -> Vec<String> {
        let path = self.name.trim_end_matches(".rs");
        path.split('/').filter(|&name| name != "mod" && name != "lib").map(String::from).collect()
    }

    /// Returns the room that the file is in.
    fn room(&self) -> &str {
        room(&self.name)
    }
}

/// Returns the room of a file: the folder in `src/`, or the name of a file there.
fn room(file: &str) -> &str {
    file.split_once('/').map_or(file.trim_end_matches(".rs"), |(folder, _)| folder)
}

/// Returns all sources, sorted by name.
fn sources() -> Vec<File> {
    fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) {
        for entry in fs::read_dir(folder).expect("the sources are there") {
            let entry = entry.expect("the sources are there");
            let name = format!("{prefix}{}", entry.file_name().to_str().expect("names are UTF-8"));
            if entry.path().is_dir() {
                collect(&entry.path(), &format!("{name}/"), files);
            } else if name.ends_with(".rs") {
                files.push(File { name, text: fs::read_to_string(entry.path()).expect("a source is UTF-8") });
            }
        }
    }
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut files);
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// Returns the text without comments, and without `self::`.
fn code(text: &str) -> String {
    let lines: Vec<String> =
        text.lines().map(|line| line.split("//").next().unwrap_or("").replace("self::", "")).collect();
    lines.join("\n")
}

/// Adds the paths of a tree of imports, `a::{b, c::{self, d}}`, that the text begins with, each behind `prefix`; returns the
/// rest of the text.
fn tree<'a>(mut text: &'a str, prefix: &[String], paths: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = prefix.to_vec();
    loop {
        text = text.trim_start();
        if let Some(group) = text.strip_prefix('{') {
            let mut text = group.trim_start();
            while !text.is_empty() && !text.starts_with('}') {
                text = tree(text, &path, paths);
                // To the next of the group, past `*` and `as name`.
                text = text.trim_start_matches(|c| !matches!(c, ',' | '}')).trim_start_matches(',').trim_start();
            }
            return text.strip_prefix('}').unwrap_or(text);
        }
        let (name, rest) = text.split_at(text.find(|c| !is_of_name(c)).unwrap_or(text.len()));
        if !matches!(name, "" | "self") {
            path.push(name.into());
        }
        match rest.strip_prefix("::") {
            Some(more) => text = more,
            None => {
                paths.push(path);
                return rest;
            }
        }
    }
}

/// Returns whether a name may contain the character.
fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the files that each file imports from.
fn imports(files: &[File]) -> BTreeMap<&str, BTreeSet<&str>> {
    let modules: BTreeMap<Vec<String>, &str> = files.iter().map(|file| (file.module(), &*file.name)).collect();
    let mut imports = BTreeMap::new();
    for file in files {
        let (code, own) = (code(&file.text), file.module());
        let children = modules.keys().filter_map(|path| path.strip_prefix(&*own).filter(|rest| rest.len() == 1));
        let roots: Vec<String> = children.flatten().map(|child| format!("{child}::")).collect();
        let roots: Vec<&str> = ["crate::", "super::"].into_iter().chain(roots.iter().map(|root| &**root)).collect();
        // The modules that are written in the file itself, each with its indentation.
        let mut inner: Vec<(usize, &str)> = Vec::new();
        let (mut paths, mut line_start) = (Vec::new(), 0);
        for line in code.lines() {
            let (words, indent) = (line.trim(), line.len() - line.trim_start().len());
            let head = words.strip_suffix(" {").and_then(|words| words.rsplit_once("mod "));
            if let Some((_, name)) = head.filter(|(before, _)| before.is_empty() || before.starts_with("pub")) {
                inner.push((indent, name));
            } else if words == "}" {
                inner.retain(|&(outer, _)| outer < indent);
            }
            for (at, root) in roots.iter().flat_map(|root| line.match_indices(root)) {
                if line[..at].ends_with(|c| is_of_name(c) || c == ':') {
                    continue; // the middle of a path
                }
                let mut prefix = own.clone();
                prefix.extend(inner.iter().map(|(_, name)| name.to_string()));
                // A tree may go on in the lines below.
                let mut text = &code[line_start + at..];
                if root == "crate::" {
                    (text, prefix) = (&text[root.len()..], Vec::new());
                }
                while let Some(rest) = text.strip_prefix("super::") {
                    prefix.pop();
                    text = rest;
                }
                tree(text, &prefix, &mut paths);
            }
            line_start += line.len() + 1;
        }
        let file_of = |mut path: Vec<String>| {
            while !modules.contains_key(&path) {
                path.pop();
            }
            modules[&path]
        };
        let mut targets: BTreeSet<&str> = paths.into_iter().map(file_of).collect();
        targets.remove(&*file.name);
        imports.insert(&*file.name, targets);
    }
    imports
}

/// Returns all files that a file leads to, along one import or many.
fn reached<'a>(from: &'a str, imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        open.extend(imports[file].iter().filter(|&&target| reached.insert(target)));
    }
    reached
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = sources();
    let imports = imports(&files);
    let reached: BTreeMap<&str, BTreeSet<&str>> = imports.keys().map(|&file| (file, reached(file, &imports))).collect();
    // Two files are in one circle if each leads to the other.
    let circles: BTreeSet<Vec<&str>> = imports
        .keys()
        .filter(|&file| reached[file].contains(file))
        .map(|&file| reached[file].iter().copied().filter(|&other| reached[other].contains(file)).collect())
        .collect();
    let lines: Vec<String> = circles
        .iter()
        .map(|circle| {
            let within = |file: &&str| {
                let targets: Vec<_> = imports[*file].iter().filter(|target| circle.contains(target)).copied().collect();
                format!("\n    {file} -> {}", targets.join(", "))
            };
            circle.iter().map(within).collect()
        })
        .collect();
    assert!(circles.is_empty(), "files that import each other:{}", lines.join("\n"));
}

#[test]
fn every_import_goes_down() {
    let files = sources();
    let rooms: BTreeSet<&str> = files.iter().map(File::room).collect();
    let plan: BTreeSet<&str> = FLOORS.concat().into_iter().collect();
    assert_eq!(rooms, plan, "the rooms in src/ and those of the plan");
    let floor =
        |file: &str| FLOORS.iter().position(|rooms| rooms.contains(&room(file))).expect("each room has a floor");
    let mut upward = Vec::new();
    for (file, targets) in imports(&files) {
        let not_down = |target: &&&str| room(target) != room(file) && floor(target) >= floor(file);
        upward.extend(targets.iter().filter(not_down).map(|target| format!("{file} -> {target}")));
    }
    assert!(upward.is_empty(), "imports that do not go down:\n    {}", upward.join("\n    "));
}

#[test]
fn no_file_is_too_long() {
    let files = sources();
    let long: Vec<String> = files
        .iter()
        .map(|file| (&file.name, file.text.lines().count()))
        .filter(|&(name, lines)| lines > LONGEST && name != TABLE)
        .map(|(name, lines)| format!("{name}: {lines}"))
        .collect();
    assert!(files.iter().any(|file| file.name == TABLE), "{TABLE} is the exception, and is not there");
    assert!(long.is_empty(), "files of more than {LONGEST} lines:\n    {}", long.join("\n    "));
}

#[test]
fn no_operation_ends_in_unreachable() {
    let files = sources();
    let found: Vec<&str> = files
        .iter()
        .filter(|file| ["op", "sweep"].contains(&file.room()) && !file.name.ends_with("tests.rs"))
        .filter(|file| code(&file.text).split("#[cfg(test)]").next().is_some_and(|code| code.contains("unreachable!")))
        .map(|file| &*file.name)
        .collect();
    assert!(found.is_empty(), "files with an arm that the compiler does not check: {}", found.join(", "));
}
