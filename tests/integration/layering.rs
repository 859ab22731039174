//! The one-way street: every room imports only the rooms that `src/ARCHITECTURE.md` lets it import. These are the crate
//! boundaries that one package lacks, so a new arrow fails here and has to be argued for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room with the rooms it may import. Top level files are rooms of their own.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("kernels", &[]),
    ("config", &[]),
    ("understanding", &["domain"]),
    ("storage", &["domain"]),
    ("insight", &["domain", "storage", "understanding"]),
    ("desk", &["domain", "storage", "understanding"]),
    ("people", &["domain", "storage"]),
    ("inference", &["config", "domain", "kernels"]),
    (
        "retrieval",
        &["config", "domain", "inference", "kernels", "storage", "understanding"],
    ),
    (
        "dialogue",
        &["config", "domain", "inference", "retrieval", "storage", "understanding"],
    ),
    // Work beside the answers: it needs the assistant to try what is published. The routes start jobs and ask after them; a
    // job knows nothing of HTTP.
    (
        "jobs",
        &[
            "config",
            "dialogue",
            "domain",
            "inference",
            "insight",
            "retrieval",
            "storage",
            "understanding",
        ],
    ),
    (
        "http",
        &[
            "config",
            "desk",
            "dialogue",
            "domain",
            "inference",
            "jobs",
            "people",
            "retrieval",
            "storage",
        ],
    ),
    (
        "app",
        &[
            "config",
            "desk",
            "dialogue",
            "domain",
            "http",
            "inference",
            "jobs",
            "retrieval",
            "storage",
            "understanding",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "config",
            "desk",
            "dialogue",
            "domain",
            "http",
            "inference",
            "insight",
            "jobs",
            "people",
            "retrieval",
            "storage",
            "understanding",
        ],
    ),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("node_modules") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn room_of(path: &Path, src: &Path) -> String {
    let first = path.strip_prefix(src).unwrap().iter().next().unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms that a file names as `crate::room`, grouped imports (`use crate::{a, b::c}`) included.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        // `$crate::` in a macro and words that end in "crate" are no imports of this crate's rooms.
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0_i32;
            let mut name = String::new();
            let mut at_start = true;
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => at_start = true,
                    c if depth == 0 && at_start && (c.is_alphanumeric() || c == '_') => name.push(c),
                    _ if depth == 0 && !name.is_empty() => at_start = false,
                    _ => {}
                }
                if (!at_start || c == ',') && !name.is_empty() {
                    found.insert(std::mem::take(&mut name));
                }
            }
            found.extend((!name.is_empty()).then_some(name));
        } else {
            found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}

#[test]
fn no_room_imports_a_room_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 30, "the sources were not found");
    let mut faults = Vec::new();
    for path in files {
        let room = room_of(&path, &src);
        if room == "lib" || room == "main" {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            faults.push(format!("{}: the room {room} is not drawn", path.display()));
            continue;
        };
        for import in imports(&fs::read_to_string(&path).unwrap()) {
            let is_room = ARROWS.iter().any(|(name, _)| *name == import);
            if is_room && import != room && !allowed.contains(&import.as_str()) {
                faults.push(format!(
                    "{}: {room} -> {import}",
                    path.strip_prefix(&src).unwrap().display()
                ));
            }
        }
    }
    assert!(faults.is_empty(), "new arrows:\n{}", faults.join("\n"));
}

#[test]
fn imports_are_read_in_every_form() {
    let text = "use crate::domain::Faq; use crate::{config::Config, storage::{Store, Page}, app}; crate::cli::main()";
    let want: BTreeSet<String> = ["domain", "config", "storage", "app", "cli"].map(String::from).into();
    assert_eq!(imports(text), want);
    assert!(imports("$crate_::x my_crate::y").is_empty());
}

#[test]
fn the_map_names_every_room() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = fs::read_to_string(root.join("src/ARCHITECTURE.md")).unwrap();
    for (room, _) in ARROWS {
        assert!(
            map.contains(&format!("`{room}")),
            "src/ARCHITECTURE.md does not name {room}"
        );
    }
}
