//! The rules of the tree that a compiler does not know, held against the files.
//!
//! Imports point downwards, migrations do not change once they are written, files stay short, and
//! nothing unfinished or talkative gets in. `docs/ARCHITECTURE.md` says why; each rule here is
//! also shown to catch what it is for.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use self::source::SourceFile;

/// The layers, the highest first. A module imports from lower layers; from its own only what
/// [`BESIDE`] names.
const LAYERS: [&[&str]; 6] = [
    // `measured` is what benchmarks and tests reach.
    &["main", "cli", "measured"],
    &["server", "http"],
    &["legacy", "notifications"],
    &["app", "access", "journal", "registry", "keys", "sessions", "users", "operator", "audit"],
    &["store", "graph"],
    LOWEST,
];

/// The lowest layer: in this list, each may import those further right.
const LOWEST: &[&str] =
    &["telemetry", "config", "reply", "health", "model", "secret", "id", "clock"];

/// Who knows whom within a layer.
const BESIDE: [(&str, &[&str]); 8] = [
    ("main", &["cli"]),
    // A whole gateway with another clock.
    ("measured", &["cli"]),
    // It holds the handles that a request needs.
    ("app", &["access", "journal", "registry", "keys", "sessions", "audit"]),
    // The only place where rights are made reads what they are made of.
    ("access", &["keys", "sessions", "users"]),
    // What acts, or shows a client what is its own, takes an `Actor`; what intervenes an `Operator`.
    ("journal", &["access", "operator"]),
    ("registry", &["access", "operator"]),
    // What changes keys and users takes an `Operator`.
    ("keys", &["operator"]),
    ("users", &["operator"]),
];

/// What tests may import beyond that.
const BESIDE_IN_TESTS: [(&str, &[&str]); 1] = [
    // They run over real connections.
    ("http", &["server"]),
];

/// Shares nothing with the Graph client, because one mistake must not hide the other.
const APART: &str = "simulator";

/// Each migration's SHA-256. A migration that somebody may have run is never edited: the next
/// change is the next file, and its digest the next line.
const MIGRATIONS: [(&str, &str); 9] = [
    (
        "migrations/sqlite/V0001__init.sql",
        "e9f32080c1614990feba74cc009cb7c210eeb230395c283deb4809e873c8e021",
    ),
    (
        "migrations/sqlite/V0002__notifications.sql",
        "0f2fe36aa3bc43b31c05ce809041addd88b0c769c2fdf64ddb333166140f5b3c",
    ),
    (
        "migrations/sqlite/V0003__access.sql",
        "82185a81641f8d3fbc24f549bfdf1dd4ccf62b4b585eca3af3ff8d0c2bb97378",
    ),
    (
        "migrations/sqlite/V0004__reject.sql",
        "b0a72859ee172d614d97a1c50f87540dcd39ed3e7e5c3da28e09131092d710e7",
    ),
    (
        "migrations/sqlite/V0005__participants.sql",
        "9ed972644927bd4c1b7fc6eadc2bcd589e2e9b0c468577ccf8b9a22139d6fbb5",
    ),
    (
        "migrations/sqlite/V0006__pause.sql",
        "31b8e0e863e7e7f9f7c07baf0de542712ce05f0736f913ab99d8e09f8b9690e9",
    ),
    (
        "migrations/sqlite/V0007__commits.sql",
        "a7d052887b31cbf157e466c8e5caa626a2fa449b18d0372d516a9675096c08e9",
    ),
    (
        "migrations/sqlite/V0008__armed.sql",
        "a32880c460a420bb4743db6e1c30e6a841bbbc8d0dfc8c08ebc309b13c19864b",
    ),
    (
        "migrations/sqlite/V0009__due.sql",
        "901502c66a9ec21367ab812bca10ed2f04e861416d0e6b790f3a71b2149d29ba",
    ),
];

/// About 400 lines; what is longer has a second reason to change.
const LINES: usize = 420;

/// What nobody finished. Written in halves, because this file is searched too.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("#[ign", "ore"),
];

/// Where data is printed; everywhere else it is logged or answered.
const PRINTS: [&str; 2] = ["cli", "main"];

#[test]
fn imports_point_downwards() {
    let files = sources();
    assert_eq!(misplaced_imports(&files), Vec::<String>::new());
}

#[test]
fn every_module_has_its_layer() {
    let modules: BTreeSet<_> =
        sources().iter().filter_map(|file| file.top().map(str::to_owned)).collect();
    let layers = LAYERS.concat().into_iter().chain([APART]).map(str::to_owned).collect();
    assert_eq!(modules, layers, "the modules, and the table in this file");
}

#[test]
fn the_documented_layers_are_these() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/ARCHITECTURE.md")).expect("the page is there");
    let rows: Vec<Vec<&str>> = page.lines().filter_map(documented_layer).collect();
    assert_eq!(rows, LAYERS, "docs/ARCHITECTURE.md, and the table in this file");
}

#[test]
fn migrations_are_what_they_were() {
    let recorded: Vec<_> = MIGRATIONS
        .iter()
        .map(|(path, digest)| ((*path).to_owned(), (*digest).to_owned()))
        .collect();
    let found: Vec<_> = files_below("migrations", &["sql"])
        .into_iter()
        .map(|(path, text)| (path, sha256(&text)))
        .collect();
    assert_eq!(found, recorded, "a migration that was released is never edited: add the next one");
}

#[test]
fn files_are_short() {
    assert_eq!(long_files(&code()), Vec::<String>::new());
}

#[test]
fn nothing_is_left_unfinished() {
    assert_eq!(unfinished(&code()), Vec::<String>::new());
}

#[test]
fn only_the_command_line_prints() {
    assert_eq!(printing(&sources()), Vec::<String>::new());
}

#[test]
fn a_planted_import_is_found() {
    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let found = misplaced_imports(&[SourceFile::new(path, text)]);
        assert_eq!(found, expected, "{path}: {text}");
    }

    // Upwards, in each way to write it.
    check(
        "src/model/plan.rs",
        "use crate::store::Store;",
        &["src/model/plan.rs:1: `model` imports `store`"],
    );
    check(
        "src/store.rs",
        "fn f() {\n    crate::http::answer();\n}",
        &["src/store.rs:2: `store` imports `http`"],
    );
    check(
        "src/graph.rs",
        "use crate::{\n    id::{CallId, self},\n    journal::Journal,\n};",
        &["src/graph.rs:3: `graph` imports `journal`"],
    );
    check(
        "src/store/sqlite.rs",
        "pub use super::super::legacy::codes;",
        &["src/store/sqlite.rs:1: `store` imports `legacy`"],
    );
    check(
        "src/keys.rs",
        "mod inner { use super::super::legacy; use super::help; }",
        &["src/keys.rs:1: `keys` imports `legacy`"],
    );
    // Sideways.
    check(
        "src/keys.rs",
        "use crate::journal::Journal;",
        &["src/keys.rs:1: `keys` imports `journal`"],
    );
    check(
        "src/reply.rs",
        "use crate::config::Config;",
        &["src/reply.rs:1: `reply` imports `config`"],
    );
    check("src/http.rs", "use crate::server::drain;", &["src/http.rs:1: `http` imports `server`"]);
    check(
        "src/http.rs",
        "#[cfg(test)]\nmod tests {}\nuse crate::server;",
        &["src/http.rs:3: `http` imports `server`"],
    );
    // The simulator, in both directions; and a name that only the root has.
    check(
        "src/simulator/calls.rs",
        "use crate::graph::model::Call;",
        &["src/simulator/calls.rs:1: `simulator` imports `graph`"],
    );
    check(
        "src/legacy.rs",
        "use crate::simulator::Simulator;",
        &["src/legacy.rs:1: `legacy` imports `simulator`"],
    );
    check("src/store.rs", "use crate::Config;", &["src/store.rs:1: `store` imports `Config`"]);
    check("src/nowhere.rs", "use crate::id;", &["src/nowhere.rs:1: `nowhere` imports `id`"]);
}

#[test]
fn an_import_where_it_belongs_is_no_finding() {
    #[track_caller]
    fn check(path: &str, text: &str) {
        let found = misplaced_imports(&[SourceFile::new(path, text)]);
        assert_eq!(found, Vec::<String>::new(), "{path}: {text}");
    }

    check("src/legacy/delete.rs", "use crate::{app::App, model::plan, store::Standing};");
    check("src/access.rs", "use crate::keys::Keys;");
    check("src/telemetry.rs", "use crate::config::log::LogConfig;");
    check("src/simulator.rs", "use crate::clock::Clock;");
    check("src/cli/demo.rs", "use super::serve; use crate::simulator::Simulator;");
    check("src/store/sqlite.rs", "use super::Store; pub(in crate::store) fn f() {}");
    check("src/http.rs", "#[cfg(test)]\n#[expect(x)]\nmod tests { use crate::server; }");
    check("src/store.rs", "mod tests { use super::*; }");
    // What is no code.
    check("src/model.rs", "//! [`crate::store::Store`]\n/* use crate::store; /* */ crate::http */");
    check("src/model.rs", "const A: &str = \"\\\" crate::store\"; const B: char = '\"';");
    check("src/model.rs", "const A: &str = r#\"crate::store \" crate::http\"#; fn f<'a>() {}");
}

#[test]
fn a_module_that_only_tests_have_is_seen_from_its_parent() {
    let parent = SourceFile::new("src/http.rs", "#[cfg(test)]\nmod real;\nmod other;");
    let text = "use crate::server::drain;";
    let files = [
        parent,
        SourceFile::new("src/http/real.rs", text),
        SourceFile::new("src/http/other.rs", text),
    ];
    assert_eq!(misplaced_imports(&files), ["src/http/other.rs:1: `http` imports `server`"]);
}

#[test]
fn a_planted_habit_is_found() {
    let file = |path: &str, text: String| (path.to_owned(), text);
    let long = file("src/a.rs", "\n".repeat(LINES + 1));
    assert_eq!(long_files(&[long, file("src/b.rs", "\n".repeat(LINES))]), ["src/a.rs: 421 lines"]);

    for word in UNFINISHED {
        let planted = file("src/a.rs", format!("fn a() {{}}\n// {word}"));
        assert_eq!(unfinished(&[planted]), [format!("src/a.rs:2: {word}")]);
    }

    let talks = "fn a() {\n    println!(\"a\"); // println!\n    eprint!(\"println!\");\n}";
    let found =
        printing(&[SourceFile::new("src/store.rs", talks), SourceFile::new("src/cli/a.rs", talks)]);
    assert_eq!(found, ["src/store.rs:2: println!", "src/store.rs:3: eprint!"]);
}

/// Every import that the layers forbid.
fn misplaced_imports(files: &[SourceFile]) -> Vec<String> {
    let test_only = files.iter().flat_map(SourceFile::test_only_modules).collect();
    let mut misplaced = Vec::new();
    for file in files {
        // The crate's root declares and re-exports.
        let Some(from) = file.top() else { continue };
        for reference in file.references(&test_only) {
            let to = reference.target.as_str();
            if !may_import(from, to, reference.in_tests) {
                let place = format!("{}:{}", file.path, reference.line);
                misplaced.push(format!("{place}: `{from}` imports `{to}`"));
            }
        }
    }
    misplaced
}

fn may_import(from: &str, to: &str, in_tests: bool) -> bool {
    if from == to {
        return true;
    }
    let lowest = LAYERS.len() - 1;
    match (layer(from), layer(to)) {
        _ if from == APART => layer(to) == Some(lowest),
        (Some(from_layer), _) if to == APART => from_layer == 0,
        (Some(from_layer), Some(to_layer)) if from_layer == lowest && to_layer == lowest => {
            let place = |module| LOWEST.iter().position(|one| *one == module);
            place(from) < place(to)
        }
        (Some(from_layer), Some(to_layer)) if from_layer == to_layer => {
            let named = |table: &[(&str, &[&str])]| {
                table.iter().any(|(module, others)| *module == from && others.contains(&to))
            };
            named(&BESIDE) || (in_tests && named(&BESIDE_IN_TESTS))
        }
        (Some(from_layer), Some(to_layer)) => from_layer < to_layer,
        _ => false,
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The modules in a row such as ``| 1 | `store`, `graph` | … |``.
fn documented_layer(line: &str) -> Option<Vec<&str>> {
    let (number, rest) = line.strip_prefix("| ")?.split_once(" | ")?;
    number.parse::<u8>().ok()?;
    let (modules, _note) = rest.split_once(" |")?;
    Some(modules.split(", ").map(|module| module.trim_matches('`')).collect())
}

fn long_files(files: &[(String, String)]) -> Vec<String> {
    let counted = files.iter().map(|(path, text)| (path, text.lines().count()));
    let long = counted.filter(|(_, lines)| *lines > LINES);
    long.map(|(path, lines)| format!("{path}: {lines} lines")).collect()
}

fn unfinished(files: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in files {
        for (number, line) in text.lines().enumerate() {
            let words = UNFINISHED.iter().filter(|word| line.contains(*word));
            found.extend(words.map(|word| format!("{path}:{}: {word}", number + 1)));
        }
    }
    found
}

fn printing(files: &[SourceFile]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !PRINTS.contains(&file.top().unwrap_or_default())) {
        for name in ["println", "print", "eprintln", "eprint", "dbg"] {
            let lines = file.macro_calls(name).into_iter();
            found.extend(lines.map(|line| format!("{}:{line}: {name}!", file.path)));
        }
    }
    found
}

fn sources() -> Vec<SourceFile> {
    let files = files_below("src", &["rs"]);
    assert!(files.len() > 50, "the sources were not found: {}", files.len());
    files.iter().map(|(path, text)| SourceFile::new(path, text)).collect()
}

/// Everything that is written in a programming language.
fn code() -> Vec<(String, String)> {
    let folders = ["src", "tests", "examples", "benches", "scripts"];
    folders.iter().flat_map(|folder| files_below(folder, &["rs", "py", "sh", ""])).collect()
}

/// The files below `folder` with one of these endings, by path; an absent folder has none.
fn files_below(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path: PathBuf = entry.expect("the folder can be read").path();
            let ending = path.extension().unwrap_or_default().to_str().unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if endings.contains(&ending) {
                let text = fs::read_to_string(&path).expect("a source file is text");
                let path = path.strip_prefix(root).expect("it is below the root");
                found.push((path.display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}

fn sha256(text: &str) -> String {
    let named = format!("{:?}", digest(&SHA256, text.as_bytes()));
    named.strip_prefix("SHA256:").unwrap_or(&named).to_owned()
}
