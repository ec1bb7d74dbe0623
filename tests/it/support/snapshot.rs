//! Golden files: answers with what differs from run to run replaced, and only that.

use std::fmt::Write as _;

use uuid::Uuid;

use super::http::Answer;

/// An id that a test knows, and what stands for it in the golden file.
pub(crate) type Known<'a> = (&'a str, &'a str);

/// Compares with `tests/it/snapshots/NAME.snap`.
#[track_caller]
pub(crate) fn assert_golden(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/snapshots"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, text);
    });
}

/// Status, headers and body, line ends made visible. Ids that the test knows become their names;
/// every other id must be a UUID to become one word, so that nothing else can hide behind it.
pub(crate) fn shown(answer: &Answer, known: &[Known<'_>]) -> String {
    let mut text = format!("{}\n", answer.status);
    for (name, value) in &answer.headers {
        let value = if name.eq_ignore_ascii_case("date") { "[date]" } else { value };
        writeln!(text, "{name}: {value}").expect("a String takes every write");
    }
    let end = if answer.body.ends_with('\n') { "" } else { "[no line feed]\n" };
    let text = format!("{text}\n{}{end}", answer.body.replace('\r', "[return]"));
    let text = known.iter().fold(text, |text, (id, name)| text.replace(id, &format!("[{name}]")));
    without_ids(&text)
}

fn without_ids(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let is = |length: usize, spelt: fn(Uuid) -> String| {
            let id = rest.get(..length).unwrap_or_default();
            Uuid::try_parse(id).is_ok_and(|uuid| spelt(uuid) == id)
        };
        if is(36, |uuid| uuid.hyphenated().to_string()) {
            result.push_str("[uuid]");
            rest = &rest[36..];
        } else if is(32, |uuid| uuid.simple().to_string()) {
            result.push_str("[uuid without dashes]");
            rest = &rest[32..];
        } else {
            result.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    result
}
