//! What `scripts/bench/run` fills a database with fits the schema of this version.

use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

fn run(command: &mut Command) {
    let output = command.output().expect("it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_benchmarks_keys_sessions_and_calls_are_taken() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (database, kit, credentials) = (path("gate.db"), path("kit.db"), path("credentials"));
    // As the kit makes it.
    let made = Connection::open(&kit).expect("it can be made");
    made.execute_batch(
        "CREATE TABLE calls (id INTEGER PRIMARY KEY, call_id TEXT, graph_id TEXT, \
         platform_call_id TEXT, native_id TEXT, meeting_id TEXT, start_time INTEGER, extension TEXT); \
         INSERT INTO calls VALUES (1, 'a', 'g', 'p', 'n', 'm', 1700000000000, '8856')",
    )
    .expect("it is SQL");
    let line = "0195a6f0-0000-7000-8000-000000000001 0195a6f0-0000-7000-8000-000000000002\n";
    std::fs::write(&credentials, line).expect("it can be written");
    let url = format!("store.url=sqlite:{database}");
    run(Command::new(env!("CARGO_BIN_EXE_callgate")).args(["migrate", "--set", &url]));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bench/seed.py");
    run(Command::new("python3").arg(script).args([&database, &kit, &credentials]));
    let filled = Connection::open(&database).expect("it was made");
    let counts = ["tenants", "keys", "sessions", "calls", "parties"].map(|table| {
        let count = format!("SELECT count(*) FROM {table}");
        filled.query_row(&count, (), |row| row.get::<_, i64>(0)).expect("the table exists")
    });
    assert_eq!(counts, [1; 5]);
}
